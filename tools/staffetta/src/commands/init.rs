//! `staffetta init`: a configuration to start from, DKIM keys, and the DNS records that receivers want to see.
//! It never overwrites a file.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use content::dkim::{self, Algorithm, Key};

use crate::ui::{self, paint::Paint};

/// What the configuration is made from.
const TEMPLATE: &str = include_str!("init/staffetta.toml.in");

/// Options of `init`.
#[derive(Args, Debug)]
pub(crate) struct Init {
    /// Where to write staffetta.toml and the keys
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The domain that mail is sent from
    #[arg(long, value_name = "DOMAIN", default_value = "example.com")]
    domain: String,
    /// This server's name, as its PTR record says it [default: mail.DOMAIN]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// The DKIM selector
    #[arg(long, value_name = "NAME", default_value = "s1")]
    selector: String,
}

/// The files of one run.
struct Files {
    config: PathBuf,
    rsa: PathBuf,
    ed25519: PathBuf,
    data: PathBuf,
}

impl Init {
    /// Writes the files and prints the records.
    ///
    /// # Errors
    /// When a file is there already or cannot be written.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let domain = self.checked_domain(&self.domain)?;
        let hostname = match &self.hostname {
            Some(name) => self.checked_domain(name)?,
            None => format!("mail.{domain}"),
        };
        let files = self.files(&domain)?;
        let rsa = dkim::generate_rsa_2048()?;
        let ed25519 = dkim::generate_ed25519()?;
        let keys = [
            (self.selector.clone(), Key::from_pem(&rsa, Algorithm::RsaSha256)?),
            (format!("{}e", self.selector), Key::from_pem(&ed25519, Algorithm::Ed25519Sha256)?),
        ];
        write_new(&files.rsa, rsa.as_bytes(), 0o600)?;
        write_new(&files.ed25519, ed25519.as_bytes(), 0o600)?;
        let text = self.configuration(&domain, &hostname, &files);
        write_new(&files.config, text.as_bytes(), 0o644)?;
        let records = records(&domain, &hostname, &keys);
        Ok(ui::out(&report(&files, &records, Paint::stdout()))?)
    }

    fn checked_domain(&self, name: &str) -> anyhow::Result<String> {
        let name = name.trim_end_matches('.').to_lowercase();
        match mail::Address::parse(&format!("postmaster@{name}")) {
            Ok(_) if name.contains('.') && !name.starts_with('[') => Ok(name),
            _ => Err(super::usage(format!("`{name}` is not a domain name: use one such as example.com"))),
        }
    }

    fn files(&self, domain: &str) -> anyhow::Result<Files> {
        let cannot = || format!("the directory {} cannot be made", self.dir.display());
        fs::create_dir_all(self.dir.join("dkim")).with_context(cannot)?;
        let dir = fs::canonicalize(&self.dir).with_context(cannot)?;
        let key = |kind: &str| dir.join("dkim").join(format!("{domain}.{}.{kind}.pem", self.selector));
        let files = Files {
            config: dir.join("staffetta.toml"),
            rsa: key("rsa"),
            ed25519: key("ed25519"),
            data: dir.join("data"),
        };
        let present: Vec<String> = [&files.config, &files.rsa, &files.ed25519]
            .into_iter()
            .filter(|file| file.exists())
            .map(|file| file.display().to_string())
            .collect();
        if !present.is_empty() {
            bail!("nothing was written: there is already {}", present.join(", "));
        }
        Ok(files)
    }

    fn configuration(&self, domain: &str, hostname: &str, files: &Files) -> String {
        let quoted = |path: &Path| toml_string(&path.display().to_string());
        TEMPLATE
            .replace("@HOSTNAME@", hostname)
            .replace("@DOMAIN@", domain)
            .replace("@SELECTOR@", &self.selector)
            .replace("@DATA_DIR@", &quoted(&files.data))
            .replace("@RSA_KEY@", &quoted(&files.rsa))
            .replace("@ED25519_KEY@", &quoted(&files.ed25519))
    }
}

fn records(domain: &str, hostname: &str, keys: &[(String, Key)]) -> Vec<Record> {
    let (ip, private) = outgoing_address();
    let (mechanism, kind) = if ip.contains(':') { ("ip6", "AAAA") } else { ("ip4", "A") };
    let ip_note = if private { " (use the public address that receivers see)" } else { "" };
    let mut records = vec![
        Record::txt("who may send: SPF", domain, &format!("v=spf1 {mechanism}:{ip} -all")).noted(ip_note),
    ];
    for (selector, key) in keys {
        records.push(Record {
            purpose: format!("signature: DKIM, {}", key.algorithm()),
            line: dkim::dns_zone_line(domain, selector, &key.dns_record()),
            note: String::new(),
        });
    }
    records.push(
        Record::txt(
            "what receivers do with the rest: DMARC",
            &format!("_dmarc.{domain}"),
            &format!("v=DMARC1; p=none; rua=mailto:dmarc@{domain}"),
        )
        .noted(" (move to p=quarantine, then p=reject, when the reports are clean)"),
    );
    records.push(Record {
        purpose: "the server's name: address and PTR".to_owned(),
        line: format!("{hostname}. IN {kind} {ip}"),
        note: format!(" (and ask your provider for the PTR record {ip} → {hostname})"),
    });
    records
}

/// A DNS record to publish.
struct Record {
    purpose: String,
    line: String,
    note: String,
}

impl Record {
    fn txt(purpose: &str, name: &str, value: &str) -> Self {
        Self { purpose: purpose.to_owned(), line: format!("{name}. IN TXT \"{value}\""), note: String::new() }
    }

    fn noted(mut self, note: &str) -> Self {
        note.clone_into(&mut self.note);
        self
    }
}

fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The address from which packets leave this host, and whether it is a private one. Nothing is sent to find it.
fn outgoing_address() -> (String, bool) {
    let found = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:25")?;
        socket.local_addr()
    });
    match found.map(|address| address.ip()) {
        Ok(IpAddr::V4(ip)) if !ip.is_unspecified() => {
            (ip.to_string(), ip.is_private() || ip.is_loopback() || ip.is_link_local())
        }
        Ok(ip @ IpAddr::V6(_)) => (ip.to_string(), false),
        _ => ("192.0.2.1".to_owned(), true),
    }
}

fn write_new(file: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let cannot = || format!("{} cannot be written", file.display());
    let mut out =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(file).with_context(cannot)?;
    out.write_all(content).and_then(|()| out.sync_all()).with_context(cannot)
}

fn report(files: &Files, records: &[Record], paint: Paint) -> String {
    let mut text = String::from("\nWritten:\n");
    for (file, what) in [
        (&files.config, "configuration, commented"),
        (&files.rsa, "DKIM key, RSA: keep it secret"),
        (&files.ed25519, "DKIM key, Ed25519: keep it secret"),
    ] {
        text.push_str(&format!("  {}  {}\n", paint.cyan(&file.display().to_string()), paint.dim(what)));
    }
    text.push_str("\nPublish these DNS records:\n");
    for record in records {
        text.push_str(&format!(
            "\n  {}{}\n  {}\n",
            paint.bold(&record.purpose),
            paint.dim(&record.note),
            record.line
        ));
    }
    let config = files.config.display();
    text.push_str(&format!(
        "\nNext:\n  staffetta check --config {config}\n  staffetta serve --config {config}\n\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(dir: &Path) -> Init {
        Init { dir: dir.to_owned(), domain: "Shop.test.".into(), hostname: None, selector: "s1".into() }
    }

    #[test]
    fn the_written_configuration_is_good_and_keys_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        init(dir.path()).run().expect("written");
        let file = dir.path().join("staffetta.toml");
        let checked = crate::config::check(&file).expect("readable");
        let problems: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
        assert!(problems.is_empty(), "{problems:#?}");
        let config = checked.config.expect("a configuration");
        assert_eq!(config.domains[0].name, "shop.test");
        assert_eq!(config.domains[0].dkim.len(), 2);
        for key in &config.domains[0].dkim {
            let mode = fs::metadata(&key.key_file).expect("a key").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn nothing_is_ever_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("staffetta.toml"), "mine").expect("written");
        let error = init(dir.path()).run().expect_err("refused").to_string();
        assert!(error.contains("there is already") && error.contains("staffetta.toml"), "{error}");
        assert_eq!(fs::read(dir.path().join("staffetta.toml")).expect("still there"), b"mine");
        assert_eq!(fs::read_dir(dir.path().join("dkim")).expect("a directory").count(), 0);
    }

    #[test]
    fn domains_are_checked() {
        let init = init(Path::new("/nonexistent"));
        assert!(init.checked_domain("a b").is_err());
        assert!(init.checked_domain("localhost").is_err());
        assert_eq!(init.checked_domain("Ex.Com").expect("good"), "ex.com");
    }
}
