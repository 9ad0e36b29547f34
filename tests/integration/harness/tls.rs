//! HTTPS on loopback: an authority made for one test, a server that opens TLS and hands on to the emulator, and a proxy
//! that notes what it is asked for and leads all of it to that server. Not what is said inside: that is the emulator's.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

/// What openssl is told: an authority, and a server under the names that AWS's have.
const CONFIGURATION: &str = "\
[req]
distinguished_name = name
x509_extensions = authority
prompt = no
[name]
CN = imds-agent tests
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1, DNS:*.eu-west-1.amazonaws.com, DNS:*.eu-west-1.api.aws
";

/// A certificate authority that nobody trusts, and a server's certificate of its.
pub(crate) struct Authority(TempDir);

impl Authority {
    /// A new one; `None`, said loudly, where there is no openssl to make it.
    #[expect(clippy::print_stderr, reason = "who reads the log must see what was not tested")]
    pub(crate) fn new() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("openssl.cnf"), CONFIGURATION).expect("it can be written");
        let authority = Self(directory);
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config openssl.cnf";
        let made = [
            format!("req -x509 {key} -days 2 -keyout ca.key -out ca.pem"),
            format!("req -new {key} -keyout server.key -out server.csr"),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile openssl.cnf \
             -extensions server -out server.pem"
                .to_owned(),
        ]
        .iter()
        .all(|arguments| authority.openssl(arguments));
        if !made {
            eprintln!("SKIPPED: there is no openssl here, so nothing is tried over TLS");
        }
        made.then_some(authority)
    }

    fn openssl(&self, arguments: &str) -> bool {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        command.output().is_ok_and(|output| {
            assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
            true
        })
    }

    /// The file that whoever shall trust it names in `AWS_CA_BUNDLE`.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    fn acceptor(&self) -> TlsAcceptor {
        let certificate = CertificateDer::from_pem_file(self.0.path().join("server.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(self.0.path().join("server.key")).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they belong together");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Serves HTTPS, and proxies to it; stopped when dropped.
pub(crate) struct TlsFront {
    /// Where HTTPS is spoken.
    pub(crate) server: SocketAddr,
    /// Where the proxy is.
    pub(crate) proxy: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl TlsFront {
    /// In front of what serves plain HTTP at `behind`, a loopback URL, with the certificate of `authority`.
    pub(crate) fn start(authority: &Authority, behind: &str) -> Self {
        let behind: SocketAddr =
            behind.trim_start_matches("http://").trim_end_matches('/').parse().expect("an address");
        assert!(behind.ip().is_loopback(), "the tests stay on loopback");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listen = || runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let (secure, open) = (listen(), listen());
        let address = |listener: &TcpListener| listener.local_addr().expect("a bound socket has an address");
        let (server, proxy) = (address(&secure), address(&open));
        let (asked, stop, acceptor) =
            (Arc::<Mutex<Vec<String>>>::default(), CancellationToken::new(), authority.acceptor());
        let (noted, stopped) = (asked.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(secure, acceptor, behind) => {}
                    () = serve_proxy(open, noted, server) => {}
                    () = stopped.cancelled() => {}
                }
            });
        });
        Self { server, proxy, asked, stop, thread: Some(thread) }
    }

    /// The first line of everything that the proxy was asked.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics here").clone()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, behind: SocketAddr) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // Who does not trust us goes away.
            if let Ok(stream) = acceptor.accept(stream).await {
                hand_on(stream, behind).await;
            }
        });
    }
}

async fn serve_proxy(listener: TcpListener, asked: Arc<Mutex<Vec<String>>>, server: SocketAddr) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let asked = asked.clone();
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                head.push(byte);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            asked.lock().expect("nobody panics here").push(head.lines().next().unwrap_or_default().to_owned());
            // Wherever it was to lead, it leads to us: nothing leaves this machine.
            if stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.is_ok() {
                hand_on(stream, server).await;
            }
        });
    }
}

async fn hand_on(mut stream: impl AsyncRead + AsyncWrite + Unpin, to: SocketAddr) {
    if let Ok(mut behind) = TcpStream::connect(to).await {
        // Either side may end it.
        let _ = copy_bidirectional(&mut stream, &mut behind).await;
    }
}
