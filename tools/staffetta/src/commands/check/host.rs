//! What a configuration asks of this host: addresses, devices, keys, directories, ports. Nothing is changed and nothing stays open.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use content::dkim;
use mta::io::tls;
use policy::config::{Config, DkimAlgorithm, Problem, Severity};

/// The longest path of a unix socket on Linux (`sun_path` without its final NUL).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Every problem that this host has with `config`, which was read from `file`.
pub(super) fn check(config: &Config, file: &Path) -> Vec<Problem> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut host = Host { file: file.display().to_string(), text, problems: Vec::new() };
    host.io_uring();
    host.data_dir(config);
    host.control(config);
    host.sources(config);
    host.listeners(config);
    host.trust(config);
    host.keys(config);
    host.passwords(config);
    host.problems.sort_by_key(|problem| problem.line);
    host.problems
}

struct Host {
    file: String,
    text: String,
    problems: Vec<Problem>,
}

/// What is wrong, why, and what to do.
struct Finding<'a> {
    key: &'a str,
    /// Text that stands on the line the problem is about.
    at: &'a str,
    what: String,
    cause: String,
    cure: String,
}

impl Host {
    fn error(&mut self, finding: Finding<'_>) {
        self.push(Severity::Error, finding);
    }

    fn warning(&mut self, finding: Finding<'_>) {
        self.push(Severity::Warning, finding);
    }

    fn push(&mut self, severity: Severity, finding: Finding<'_>) {
        self.problems.push(Problem {
            severity,
            file: self.file.clone(),
            line: line_of(&self.text, finding.at),
            key: finding.key.to_owned(),
            what: finding.what,
            cause: finding.cause,
            cure: finding.cure,
        });
    }

    fn io_uring(&mut self) {
        let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
        if matches!(disabled.trim(), "1" | "2") {
            self.error(Finding {
                key: "",
                at: "",
                what: "io_uring, which the engine needs, is forbidden on this host".into(),
                cause: format!("kernel.io_uring_disabled is {}", disabled.trim()),
                cure: "sysctl kernel.io_uring_disabled=0".into(),
            });
        }
    }

    fn data_dir(&mut self, config: &Config) {
        let dir = &config.node.data_dir;
        let existing = dir.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
        let at = dir.display().to_string();
        if !existing.is_dir() {
            return self.error(Finding {
                key: "node.data_dir",
                at: &at,
                what: format!("{at} cannot be a directory"),
                cause: format!("{} is a file", existing.display()),
                cure: "name a directory".into(),
            });
        }
        if let Err(error) = tempfile::tempfile_in(existing) {
            self.error(Finding {
                key: "node.data_dir",
                at: &at,
                what: format!("{} cannot be written", existing.display()),
                cause: error.to_string(),
                cure: "give the directory to the user that runs the engine, or name another".into(),
            });
        }
    }

    fn control(&mut self, config: &Config) {
        let path = &config.node.control;
        let bytes = path.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES_MAX {
            self.error(Finding {
                key: "node.control",
                at: "control",
                what: format!("the path of the control socket has {bytes} bytes"),
                cause: format!("Linux allows {SOCKET_PATH_BYTES_MAX}"),
                cure: "set node.control to a shorter path, such as /run/staffetta.sock".into(),
            });
        }
    }

    fn sources(&mut self, config: &Config) {
        for source in &config.sources {
            if let Some(ip) = source.ip
                && let Err(error) = UdpSocket::bind((ip, 0))
            {
                self.absent_address("source.ip", ip, &error);
            }
            if let Some(device) = &source.device
                && !Path::new("/sys/class/net").join(device).exists()
            {
                self.error(Finding {
                    key: "source.device",
                    at: device,
                    what: format!("there is no network device {device}"),
                    cause: format!("this host has: {}", devices()),
                    cure: "name one of these".into(),
                });
            }
        }
    }

    fn absent_address(&mut self, key: &str, ip: IpAddr, error: &std::io::Error) {
        self.error(Finding {
            key,
            at: &ip.to_string(),
            what: format!("the address {ip} cannot be used"),
            cause: match error.kind() {
                ErrorKind::AddrNotAvailable => "it is not on this host".into(),
                _ => error.to_string(),
            },
            cure: format!(
                "add it to an interface (ip addr add {ip} dev eth0), or name an address of this host"
            ),
        });
    }

    fn listeners(&mut self, config: &Config) {
        for listener in &config.listeners {
            self.listen("smtp_listener.address", listener.address);
            if let Some(certificate) = &listener.certificate {
                self.readable("smtp_listener.cert_file", &certificate.cert_file);
                self.readable("smtp_listener.key_file", &certificate.key_file);
            }
        }
        if let Some(http) = &config.http {
            self.listen("http.address", http.address);
        }
    }

    /// What connections to receivers stand on: authorities, trust anchors, client certificates.
    fn trust(&mut self, config: &Config) {
        if let Some(file) = &config.deliver.ca_file
            && let Err(fault) = tls::roots(Some(file))
        {
            self.unusable("deliver.ca_file", file, &fault);
        }
        if let Some(file) = &config.dns.trust_anchor_file {
            self.readable("dns.trust_anchor_file", file);
        }
        for certificate in config.routes.iter().filter_map(|route| route.certificate.as_ref()) {
            if let Err(fault) = tls::identity(&certificate.cert_file, &certificate.key_file) {
                self.unusable("route.tls_certificate", &certificate.cert_file, &fault);
            }
        }
    }

    fn unusable(&mut self, key: &str, file: &Path, fault: &tls::TlsFileFault) {
        // The line has the path as it was written.
        let at = file.file_name().unwrap_or_default().to_string_lossy();
        self.error(Finding {
            key,
            at: &at,
            what: format!("{} cannot be used", file.display()),
            cause: fault.to_string(),
            cure: "name PEM files that go together and that the user who runs the engine may read".into(),
        });
    }

    fn listen(&mut self, key: &str, address: SocketAddr) {
        let Err(error) = TcpListener::bind(address) else {
            return;
        };
        let at = address.to_string();
        match error.kind() {
            ErrorKind::AddrNotAvailable => self.absent_address(key, address.ip(), &error),
            ErrorKind::AddrInUse => self.warning(Finding {
                key,
                at: &at,
                what: format!("{at} is in use"),
                cause: "the engine is running already, or another server has the port".into(),
                cure: format!(
                    "fine while the engine runs; else see `ss -ltnp 'sport = :{}'`",
                    address.port()
                ),
            }),
            ErrorKind::PermissionDenied => self.error(Finding {
                key,
                at: &at,
                what: format!("{at} may not be listened on"),
                cause: "ports below 1024 need a privilege".into(),
                cure: "grant CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=), or use a higher port"
                    .into(),
            }),
            _ => self.error(Finding {
                key,
                at: &at,
                what: format!("{at} cannot be listened on"),
                cause: error.to_string(),
                cure: "name another address".into(),
            }),
        }
    }

    fn keys(&mut self, config: &Config) {
        for key in config.domains.iter().flat_map(|domain| &domain.dkim) {
            let Some(pem) = self.readable("domain.dkim.key_file", &key.key_file) else {
                continue;
            };
            let algorithm = match key.algorithm {
                DkimAlgorithm::RsaSha256 => dkim::Algorithm::RsaSha256,
                DkimAlgorithm::Ed25519Sha256 => dkim::Algorithm::Ed25519Sha256,
            };
            if let Err(error) = dkim::Key::from_pem(&pem, algorithm) {
                self.error(Finding {
                    key: "domain.dkim.key_file",
                    at: &key.key_file.display().to_string(),
                    what: format!("{} holds no key that can sign with {algorithm}", key.key_file.display()),
                    cause: error.to_string(),
                    cure: "name the private key's PEM file, or make one with `staffetta init`".into(),
                });
            }
        }
    }

    fn passwords(&mut self, config: &Config) {
        let logins = config.routes.iter().filter_map(|route| route.access.login.as_ref());
        for file in logins.filter_map(|login| login.password_file.as_ref()) {
            let Some(text) = self.readable("route.password_file", file) else { continue };
            let at = file.display().to_string();
            if text.lines().next().is_none_or(|line| line.is_empty() || line.chars().any(char::is_control)) {
                self.error(Finding {
                    key: "route.password_file",
                    at: &at,
                    what: format!("{at} holds no password"),
                    cause: "its first line is empty or holds control characters".into(),
                    cure: "write the password into its first line".into(),
                });
            }
            let mode = fs::metadata(file).map_or(0, |metadata| metadata.permissions().mode());
            if mode & 0o004 != 0 {
                self.warning(Finding {
                    key: "route.password_file",
                    at: &at,
                    what: format!("everybody on this host can read the password in {at}"),
                    cause: format!("its mode is {:03o}", mode & 0o777),
                    cure: format!("chmod o= {at}, and give it to the user that runs the engine"),
                });
            }
        }
    }

    /// The text of a file that must be readable.
    fn readable(&mut self, key: &str, file: &Path) -> Option<String> {
        let mut text = String::new();
        match File::open(file).and_then(|mut file| file.read_to_string(&mut text)) {
            Ok(_) => Some(text),
            Err(error) => {
                let at = file.display().to_string();
                self.error(Finding {
                    key,
                    at: &at,
                    what: format!("{at} cannot be read"),
                    cause: error.to_string(),
                    cure: "correct the path, or let the user that runs the engine read it".into(),
                });
                None
            }
        }
    }
}

/// The first line that holds `text`, or its last path component; 1 when there is none.
fn line_of(config: &str, text: &str) -> usize {
    let name = text.rsplit('/').next().unwrap_or(text);
    let find = |wanted: &str| {
        let is_there = |line: &str| !line.trim_start().starts_with('#') && line.contains(wanted);
        config.lines().position(is_there).filter(|_| !wanted.is_empty())
    };
    find(text).or_else(|| find(name)).map_or(1, |line| line + 1)
}

fn devices() -> String {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<Problem> {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("staffetta.toml");
        let text = text.replace("@DIR@", &dir.path().display().to_string());
        fs::write(&file, &text).expect("written");
        let checked = crate::config::check(&file).expect("readable");
        let problems: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
        check(&checked.config.unwrap_or_else(|| panic!("{problems:#?}")), &file)
    }

    #[test]
    fn everything_that_this_host_lacks_is_named_with_its_line() {
        let problems = problems(
            "[node]\nname = \"mail.example.test\"\ndata_dir = \"@DIR@/data\"\n\
             [[smtp_listener]]\naddress = \"192.0.2.77:2525\"\ntrusted = [\"127.0.0.0/8\"]\n\
             [[source]]\nname = \"a\"\nip = \"192.0.2.78\"\nehlo = \"mail.example.test\"\n\
             [[domain]]\nname = \"example.test\"\n\
             [[domain.dkim]]\nselector = \"s\"\nkey_file = \"@DIR@/absent.pem\"\nalgorithm = \"rsa-sha256\"\n",
        );
        let seen: Vec<(usize, &str)> =
            problems.iter().map(|problem| (problem.line, problem.key.as_str())).collect();
        assert_eq!(
            seen,
            [(5, "smtp_listener.address"), (9, "source.ip"), (15, "domain.dkim.key_file")],
            "{problems:#?}"
        );
        assert!(problems[1].cause.contains("not on this host"));
    }

    #[test]
    fn a_busy_port_is_only_a_warning() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address");
        let problems = problems(&format!(
            "[node]\nname = \"mail.example.test\"\ndata_dir = \"@DIR@/data\"\n[[smtp_listener]]\naddress = \"{address}\"\n\
             trusted = [\"127.0.0.0/8\"]\n"
        ));
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert_eq!(problems[0].severity, Severity::Warning);
    }

    #[test]
    fn a_file_where_the_data_directory_should_be_is_an_error() {
        let problems = problems(
            "[node]\nname = \"mail.example.test\"\ndata_dir = \"@DIR@/staffetta.toml/data\"\n[[smtp_listener]]\n\
             address = \"127.0.0.1:0\"\ntrusted = [\"127.0.0.0/8\"]\n",
        );
        assert!(
            problems.iter().any(|problem| problem.what.contains("cannot be a directory")),
            "{problems:#?}"
        );
    }
}
