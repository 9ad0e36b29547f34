//! What the service's environment says about AWS and this one does not: who runs the doctor by hand has neither the proxy
//! nor the endpoints of the unit, and would look at another way than the daemon goes. Not what is wrong with it.

use std::collections::BTreeMap;
use std::path::Path;

use super::plain_file::read_at;
use super::systemd::{self, AGENT};

/// Static keys are one thing: this environment's key and the service's secret would be nobody's.
const STATIC_KEYS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"];

/// The variables of the agent's unit that decide how AWS and IMDS are asked, but for those that `own` says something of.
pub async fn service_environment(own: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let shown = systemd::show(AGENT, &["LoadState", "Environment", "EnvironmentFiles"]).await;
    let Some(unit) = shown.first().filter(|unit| unit.get("LoadState").is_some_and(|state| state == "loaded")) else {
        return BTreeMap::new();
    };
    let property = |name: &str| unit.get(name).map(String::as_str).unwrap_or_default();
    let mut all: BTreeMap<String, String> = systemd::manager_environment().await.into_iter().collect();
    all.extend(systemd::variables(property("Environment")));
    for file in systemd::environment_files(property("EnvironmentFiles")) {
        all.extend(in_file(&read_at(Path::new(file)).unwrap_or_default()));
    }
    missing(all, own)
}

/// Of `all`, what counts here and what `own` leaves open.
fn missing(all: BTreeMap<String, String>, own: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let has_keys = STATIC_KEYS.iter().any(|name| own(name).is_some());
    let counts = |name: &str| name.starts_with("AWS_") || PROXIES.contains(&name);
    let is_open = |name: &str| own(name).is_none() && !(has_keys && STATIC_KEYS.contains(&name));
    all.into_iter().filter(|(name, _)| counts(name) && is_open(name)).collect()
}

/// `NAME=VALUE` lines, the value perhaps in quotes (`systemd.exec(5)`, `EnvironmentFile=`).
fn in_file(text: &str) -> impl Iterator<Item = (String, String)> {
    text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])).filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        let value = value.trim();
        let bare = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
        Some((name.trim().to_owned(), bare.unwrap_or(value).to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing_from(own: &[&str], all: &[(&str, &str)]) -> Vec<String> {
        let all = all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        missing(all, |name| own.contains(&name).then(|| "own".to_owned())).into_keys().collect()
    }

    #[test]
    fn what_this_environment_says_stays_and_what_is_not_about_aws_is_not_taken() {
        let all = [("AWS_ENDPOINT_URL", "a"), ("HTTPS_PROXY", "b"), ("PATH", "c")];
        assert_eq!(missing_from(&[], &all), ["AWS_ENDPOINT_URL", "HTTPS_PROXY"]);
        assert_eq!(missing_from(&["HTTPS_PROXY"], &all), ["AWS_ENDPOINT_URL"]);
    }

    #[test]
    fn static_keys_are_never_of_both() {
        let all = [("AWS_SECRET_ACCESS_KEY", "a"), ("AWS_SESSION_TOKEN", "b"), ("AWS_REGION", "c")];
        assert_eq!(missing_from(&["AWS_ACCESS_KEY_ID"], &all), ["AWS_REGION"]);
    }

    #[test]
    fn a_file_has_a_variable_a_line_and_quotes_are_not_the_value() {
        let read: Vec<_> = in_file("# c\nA=1\n B = \"two words\"\nC='x'\nD=\nnoise\n").collect();
        let expected = [("A", "1"), ("B", "two words"), ("C", "x"), ("D", "")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
