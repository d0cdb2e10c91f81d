// SPDX-License-Identifier: MIT OR Apache-2.0
//! Metrics over HTTP, for Prometheus to scrape.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Error, Result, anyhow};
use tiny_http::{Header, Listener, Method, Request, Response, Server};

/// The type of the text, for the scraper.
const CONTENT: &str = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("unix:") {
            Some(path) => Ok(Self::Unix(path.into())),
            None => Ok(Self::Tcp(text.parse().context(
                "expected an address and port such as 127.0.0.1:9798, or unix:PATH",
            )?)),
        }
    }
}

/// Answers scrapers until it is dropped.
pub struct Exporter {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
    /// The socket's file.
    file: Option<PathBuf>,
}

impl Exporter {
    /// Begins to listen; `metrics` returns the text for each scrape.
    ///
    /// # Errors
    /// If it can't listen there.
    pub fn start(
        address: &Address,
        mut metrics: impl FnMut() -> Result<String> + Send + 'static,
    ) -> Result<Self> {
        let (listener, file) = match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)
                    .with_context(|| format!("cannot listen on {address}"))?;
                (Listener::from(listener), None)
            }
            Address::Unix(path) => {
                remove_left_over(path);
                let listener = UnixListener::bind(path)
                    .with_context(|| format!("cannot listen on {}", path.display()))?;
                (Listener::from(listener), Some(path.clone()))
            }
        };
        let server = Server::from_listener(listener, None)
            .map_err(|error| anyhow!("cannot serve metrics: {error}"))?;
        let server = Arc::new(server);
        let serving = Arc::clone(&server);
        let thread = thread::spawn(move || {
            for request in serving.incoming_requests() {
                answer(request, &mut metrics);
            }
        });
        Ok(Self {
            server,
            thread: Some(thread),
            file,
        })
    }

    /// The TCP port that it got.
    #[cfg(test)]
    fn port(&self) -> Option<u16> {
        Some(self.server.server_addr().to_ip()?.port())
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            // If the thread has panicked, its message has been printed already.
            let _ = thread.join();
        }
        if let Some(file) = &self.file {
            // It may be gone already; if it stays, the next start removes it.
            let _ = fs::remove_file(file);
        }
    }
}

/// Removes a socket's file, which outlives a process that is killed.
fn remove_left_over(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        // If the file stays, binding will fail and say so.
        let _ = fs::remove_file(path);
    }
}

fn answer(request: Request, metrics: &mut impl FnMut() -> Result<String>) {
    let (status, text) = match (request.method(), request.url()) {
        (Method::Get | Method::Head, "/metrics") => match metrics() {
            Ok(text) => (200, text),
            Err(error) => (500, format!("{error:#}\n")),
        },
        (_, "/metrics") => (405, "only GET is allowed\n".to_owned()),
        _ => (404, "the metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::from_string(text).with_status_code(status);
    if status == 200 {
        response.add_header(Header::from_str(CONTENT).expect("it is a header"));
    }
    // It does not matter if the scraper has gone away.
    let _ = request.respond(response);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn say(mut stream: impl Read + Write, request: &str) -> String {
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn scrapers_get_metrics_and_errors_over_tcp() {
        let mut texts = [Ok("a 1\n".to_owned()), Err(anyhow!("Xen went away"))].into_iter();
        let exporter = Exporter::start(&"127.0.0.1:0".parse().unwrap(), move || {
            texts.next().expect("two scrapes")
        })
        .unwrap();
        let port = exporter.port().unwrap();
        let ask = |request| say(TcpStream::connect(("127.0.0.1", port)).unwrap(), request);
        let answer = ask("GET /metrics");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains("application/openmetrics-text") && answer.ends_with("\r\n\r\na 1\n")
        );
        let answer = ask("GET /metrics");
        assert!(
            answer.starts_with("HTTP/1.1 500") && answer.contains("Xen went away"),
            "{answer}"
        );
        assert!(ask("GET /").starts_with("HTTP/1.1 404"));
        assert!(ask("POST /metrics").starts_with("HTTP/1.1 405"));
    }

    #[test]
    fn a_socket_left_by_a_killed_daemon_is_replaced_and_its_file_goes_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics");
        drop(UnixListener::bind(&path).unwrap());
        let address = Address::Unix(path.clone());
        let exporter = Exporter::start(&address, || Ok("a 1\n".to_owned())).unwrap();
        let answer = say(UnixStream::connect(&path).unwrap(), "GET /metrics");
        assert!(answer.ends_with("a 1\n"), "{answer}");
        drop(exporter);
        assert!(!path.exists());

        // But a file that is not a socket stays.
        fs::write(&path, "precious").unwrap();
        assert!(Exporter::start(&address, || Ok(String::new())).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn addresses_are_of_two_kinds() {
        let parse = |text: &str| text.parse::<Address>();
        assert_eq!(
            parse("unix:/run/a").unwrap(),
            Address::Unix("/run/a".into())
        );
        assert_eq!(
            parse("[::1]:80").unwrap(),
            Address::Tcp("[::1]:80".parse().unwrap())
        );
        for wrong in ["9798", "localhost:9798", "/run/a"] {
            assert!(parse(wrong).unwrap_err().to_string().contains("unix:PATH"));
        }
    }
}
