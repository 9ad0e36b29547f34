//! Static keys, and profiles, that SDKs take before the instance's role: in environments, in AWS's own files of every
//! user, in the environments of services, in `.env`. Says where by path and line, who would take them, and how they are
//! removed. Never what they are.

mod profiles;
mod variables;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::profiles::Profile;
use self::variables::{OF_SDKS, Set};
use super::plain_file::{Unread, read, read_at};
use super::systemd::{self, Properties};
use super::visit::{Check, Finding, Found, Host, look};
use crate::credentials::SourceKind;
use crate::endpoints::CredentialsFile;
use crate::fault::shell_word;

pub(super) const CHECK: Check = Check {
    name: "static-keys",
    title: "no static keys come before the role",
    needs: &[],
    after: &[],
    look: |host| look(check(host)),
};

/// What is asked of each service.
const OF_SERVICES: [&str; 6] =
    ["Id", "Environment", "EnvironmentFiles", "WorkingDirectory", "FragmentPath", "DropInPaths"];

/// AWS's own files, below a home (SDKs and Tools Reference Guide, "Location of the shared config and credentials files").
const AT_HOME: [&str; 2] = [".aws/credentials", ".aws/config"];

/// The same, where a variable names another place.
const ELSEWHERE: [&str; 2] = ["AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"];

/// What programs load by a library; the first by its bare name, the others where the environment is called so.
const DOTENV: [&str; 3] = [".env", ".env.local", ".env.production"];

/// How many directories above the working one are looked into: as far as a program is usually below its project.
const PARENTS: usize = 3;

/// Shells of users that nobody logs in as.
const NO_LOGIN: [&str; 2] = ["nologin", "false"];

/// Who takes what is in the environment.
const FROM_ENVIRONMENT: &str =
    "every AWS SDK and the AWS CLI take these before anything else, and the instance's role is never asked for";

async fn check(host: Arc<Host>) -> Found {
    let (services, of_systemd) = tokio::join!(systemd::show("*.service", &OF_SERVICES), systemd::manager_environment());
    let searched = tokio::task::spawn_blocking(move || {
        let mut search = Search::new(&host);
        search.environment(&|name| std::env::var(name).ok());
        search.manager(&of_systemd);
        for service in &services {
            search.service(service);
        }
        search.shared_file(Path::new("/etc/environment"), "every login session");
        search.homes(&std::fs::read_to_string("/etc/passwd").unwrap_or_default());
        search.around(&std::env::current_dir().unwrap_or_default());
        search.found()
    });
    searched.await.unwrap_or_else(|_| Finding::unseen("the search for static keys failed").into())
}

/// What was found so far, and where was looked.
struct Search {
    findings: Vec<Finding>,
    seen: BTreeSet<PathBuf>,
    not_allowed: Vec<PathBuf>,
    /// Whether the configuration asks for the keys in the environment.
    wants_environment: bool,
    /// The file that the agent itself keeps.
    ours: Option<CredentialsFile>,
    /// `AWS_PROFILE`, which stands for `default` then.
    profile: String,
}

impl Search {
    fn new(host: &Host) -> Self {
        let config = host.config();
        let profile = std::env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty());
        Self {
            findings: Vec::new(),
            seen: BTreeSet::new(),
            not_allowed: Vec::new(),
            wants_environment: config.credentials.source == SourceKind::Environment,
            ours: config.endpoints.credentials_file,
            profile: profile.unwrap_or_else(|| "default".to_owned()),
        }
    }

    /// The environment that the doctor was started in, and the files that it names.
    fn environment(&mut self, variable: &dyn Fn(&str) -> Option<String>) {
        let set: Vec<&str> =
            OF_SDKS.into_iter().filter(|name| variable(name).is_some_and(|value| !value.is_empty())).collect();
        if self.wants_environment && !set.is_empty() {
            self.findings.push(
                Finding::note("static keys in the environment, as `source` in the [credentials] table asks for")
                    .about("environment"),
            );
        } else if !set.is_empty() {
            self.findings.push(
                Finding::fault("static keys in this environment come before the instance's role")
                    .about("environment")
                    .evidence(format!("{} set in the doctor's own environment", are(&set)))
                    .why(format!("{FROM_ENVIRONMENT}; so does whatever is started from here"))
                    .cure(format!("unset {}", OF_SDKS.join(" "))),
            );
        }
        for path in ELSEWHERE.into_iter().filter_map(variable).filter(|path| !path.is_empty()) {
            self.profiles_of(read_at(Path::new(&path)), Path::new(&path), "whoever has the variable that names it");
        }
        if let Some(home) = variable("HOME").filter(|home| !home.is_empty()) {
            self.home(Path::new(&home), "this user");
        }
    }

    /// What systemd hands to all services.
    fn manager(&mut self, environment: &[(String, String)]) {
        let set = keys_in(environment);
        if !set.is_empty() {
            self.findings.push(
                Finding::fault("systemd gives static keys to every service it starts")
                    .about("systemd")
                    .evidence(format!("{} set in the environment of the manager", are(&set)))
                    .why(FROM_ENVIRONMENT)
                    .cure(format!("sudo systemctl unset-environment {}", set.join(" "))),
            );
        }
    }

    /// A service's own environment, the files it has it from, and `.env` where it works.
    fn service(&mut self, unit: &Properties) {
        let property = |name: &str| unit.get(name).map(String::as_str).unwrap_or_default();
        let id = property("Id");
        let environment = systemd::variables(property("Environment"));
        let set = keys_in(&environment);
        if !set.is_empty() {
            let places = places_of(property("FragmentPath"), property("DropInPaths"));
            self.findings.push(
                Finding::fault(format!("static keys in the environment of {id} come before the instance's role"))
                    .about(id)
                    .evidence(format!("{} set by Environment={places}", are(&set)))
                    .why(FROM_ENVIRONMENT)
                    .cure(without_keys(id)),
            );
        }
        for file in systemd::environment_files(property("EnvironmentFiles")) {
            self.service_file(id, Path::new(file.trim_start_matches('-')));
        }
        let directory = property("WorkingDirectory").trim_start_matches('!');
        if directory.starts_with('/') && directory != "/" {
            self.dotenv(Path::new(directory));
        }
    }

    fn service_file(&mut self, id: &str, path: &Path) {
        if let Some(set) = self.variables_of(path) {
            let remove = remove_lines(path, &set.lines);
            self.findings.push(
                Finding::fault(format!("static keys in the environment file of {id} come before the instance's role"))
                    .about(place(path, &set.lines))
                    .evidence(format!("{} set there, EnvironmentFile= of {id}", are_all(&set)))
                    .why(if set.is_for_sdks() { FROM_ENVIRONMENT } else { BY_ANOTHER_NAME })
                    .cure(format!("{remove} && sudo systemctl restart {}", shell_word(id))),
            );
        }
    }

    /// A file of variables that `readers` have in their environment.
    fn shared_file(&mut self, path: &Path, readers: &str) {
        if let Some(set) = self.variables_of(path) {
            self.findings.push(
                Finding::fault(format!("static keys in {} come before the instance's role", path.display()))
                    .about(place(path, &set.lines))
                    .evidence(format!("{} set there, for {readers}", are_all(&set)))
                    .why(if set.is_for_sdks() { FROM_ENVIRONMENT } else { BY_ANOTHER_NAME })
                    .cure(remove_lines(path, &set.lines)),
            );
        }
    }

    /// AWS's own files of every user that somebody logs in as.
    fn homes(&mut self, passwd: &str) {
        for line in passwd.lines() {
            // passwd(5): `name:password:uid:gid:comment:home:shell`.
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, _, _, _, home, shell] = fields[..] else { continue };
            let program = shell.rsplit('/').next().unwrap_or_default();
            if home.starts_with('/') && !NO_LOGIN.contains(&program) {
                self.home(Path::new(home), &format!("user {name}"));
            }
        }
    }

    fn home(&mut self, home: &Path, user: &str) {
        for below in AT_HOME {
            self.profiles_of(read(home, Path::new(below)), &home.join(below), user);
        }
    }

    /// `.env` in the working directory and those above it.
    fn around(&mut self, working: &Path) {
        for directory in working.ancestors().take(PARENTS + 1).filter(|directory| directory.parent().is_some()) {
            self.dotenv(directory);
        }
    }

    fn dotenv(&mut self, directory: &Path) {
        for name in DOTENV {
            let path = directory.join(name);
            let Some(set) = self.variables_of(&path) else { continue };
            self.findings.push(
                Finding::fault(format!("static keys in {} come before the instance's role", path.display()))
                    .about(place(&path, &set.lines))
                    .evidence(format!("{} set there", are_all(&set)))
                    .why(if set.is_for_sdks() { BY_DOTENV } else { BY_ANOTHER_NAME })
                    .cure(remove_lines(&path, &set.lines)),
            );
        }
    }

    fn variables_of(&mut self, path: &Path) -> Option<Set> {
        self.text(read_at(path), path).as_deref().and_then(variables::in_text)
    }

    fn profiles_of(&mut self, text: Result<String, Unread>, path: &Path, user: &str) {
        let Some(text) = self.text(text, path) else { return };
        for profile in profiles::with_credentials(&text) {
            let is_ours = |ours: &CredentialsFile| ours.path == path && ours.profile == profile.name;
            if !self.ours.as_ref().is_some_and(is_ours) {
                self.findings.push(self.profile(&profile, path, user));
            }
        }
    }

    fn profile(&self, profile: &Profile, path: &Path, user: &str) -> Finding {
        let Profile { name, lines, is_static } = profile;
        let is_taken = *name == "default" || *name == self.profile;
        let what = if *is_static { "static keys" } else { "other credentials" };
        let finding = match (is_taken, is_static) {
            (true, true) => Finding::fault(format!("{what} in profile {name} come before the instance's role")),
            (true, false) => Finding::warning(format!("{what} in profile {name} come before the instance's role")),
            (false, _) => Finding::warning(format!("profile {name} has {what}")),
        };
        let why = if is_taken {
            format!("every AWS SDK and the AWS CLI take them before the instance's role, where they run as {user}")
        } else {
            format!("every AWS SDK and the AWS CLI take them before the instance's role, where AWS_PROFILE={name}")
        };
        finding
            .about(place(path, lines))
            .evidence(format!("[{name}] has {what} in {}", lines_of(lines)))
            .why(why)
            .cure(remove_lines(path, lines))
    }

    /// The text of a file that was not looked at yet.
    fn text(&mut self, text: Result<String, Unread>, path: &Path) -> Option<String> {
        if !self.seen.insert(path.to_owned()) {
            return None;
        }
        if text == Err(Unread::NotAllowed) {
            self.not_allowed.push(path.to_owned());
        }
        text.ok()
    }

    fn found(mut self) -> Found {
        if let Some(first) = self.not_allowed.first() {
            let count = self.not_allowed.len();
            let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            self.findings.push(
                Finding::unseen(format!("this user may not look into {}{more}", first.display()))
                    .cure("sudo imds-agent doctor --only static-keys"),
            );
        }
        if self.findings.is_empty() {
            return Finding::ok("no static keys in environments, in AWS's files of any user, in services or in .env")
                .into();
        }
        Found::all(self.findings)
    }
}

/// Who takes what is in `.env`.
const BY_DOTENV: &str = "a program that loads the file (python-dotenv, dotenv of Node.js and Ruby, godotenv, docker \
    compose) has them in its environment, where every AWS SDK takes them before anything else; SDKs alone don't read it";

/// Who takes what no SDK looks for.
const BY_ANOTHER_NAME: &str =
    "no SDK looks for a variable of that name: a program that hands it to its SDK uses the keys instead of the role";

fn keys_in(environment: &[(String, String)]) -> Vec<&str> {
    environment.iter().filter(|(name, value)| variables::is_key(name, value)).map(|(name, _)| name.as_str()).collect()
}

/// ` in FILE:LINE`, where the unit's own files have them.
fn places_of(fragment: &str, drop_ins: &str) -> String {
    let files = std::iter::once(fragment).chain(drop_ins.split_whitespace()).filter(|path| !path.is_empty());
    let places: Vec<String> = files
        .filter_map(|path| {
            let set = read_at(Path::new(path)).ok().as_deref().and_then(variables::in_text)?;
            Some(place(Path::new(path), &set.lines))
        })
        .collect();
    if places.is_empty() { String::new() } else { format!(" in {}", places.join(", ")) }
}

/// Takes the keys from a service, wherever it has them from.
fn without_keys(id: &str) -> String {
    let directory = shell_word(&format!("/etc/systemd/system/{id}.d"));
    let drop_in = shell_word(&format!("/etc/systemd/system/{id}.d/no-static-keys.conf"));
    let id = shell_word(id);
    let names = OF_SDKS.join(" ");
    format!(
        "sudo mkdir -p {directory} && printf '[Service]\\nUnsetEnvironment={names}\\n' | sudo tee {drop_in} && \
         sudo systemctl daemon-reload && sudo systemctl restart {id}"
    )
}

/// Removes the lines of a file.
fn remove_lines(path: &Path, lines: &[usize]) -> String {
    let script: Vec<String> = lines.iter().map(|line| format!("{line}d")).collect();
    format!("sudo sed -i '{}' {}", script.join(";"), shell_word(&path.to_string_lossy()))
}

/// `/home/app/.aws/credentials:2,3`.
fn place(path: &Path, lines: &[usize]) -> String {
    let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
    format!("{}:{}", path.display(), lines.join(","))
}

fn lines_of(lines: &[usize]) -> String {
    let numbers: Vec<String> = lines.iter().map(usize::to_string).collect();
    format!("{} {}", if lines.len() == 1 { "line" } else { "lines" }, numbers.join(", "))
}

fn are(names: &[&str]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

fn are_all(set: &Set) -> String {
    are(&set.names.iter().map(String::as_str).collect::<Vec<_>>())
}
