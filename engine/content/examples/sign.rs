//! Signs every `*.eml` file of a directory with an RSA and an Ed25519 key, as the engine does, so that other DKIM
//! implementations can verify the result.
//!
//! `sign keys DIR` makes `rsa.pem`, `ed25519.pem` and `records.txt` in DIR;
//! `sign messages KEYS IN OUT` writes the signed messages to OUT as they are, without reading directives;
//! `sign prepared KEYS IN OUT` takes them through the way of a submission first.

use std::fs;
use std::path::Path;

use content::dkim::{self, Algorithm, Key, Signer};
use content::{Stamp, normalise_newlines, read_directives};
use mail::UnixMs;

type Failure = Box<dyn std::error::Error>;

const DOMAIN: &str = "example.test";
const SIGNED_AT: UnixMs = UnixMs(1_795_353_001_000);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["keys", directory] => make_keys(Path::new(directory)),
        [way @ ("messages" | "prepared"), keys, input, output] => {
            sign_all(Path::new(keys), Path::new(input), Path::new(output), *way == "prepared")
        }
        _ => Err("usage: sign keys DIR | sign messages KEYS IN OUT | sign prepared KEYS IN OUT".into()),
    }
}

fn make_keys(directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory)?;
    let mut records = String::new();
    for (name, algorithm, pem) in [
        ("rsa", Algorithm::RsaSha256, dkim::generate_rsa_2048()?),
        ("ed25519", Algorithm::Ed25519Sha256, dkim::generate_ed25519()?),
    ] {
        let record = Key::from_pem(&pem, algorithm)?.dns_record();
        records.push_str(&format!("{}\t{record}\n", dkim::dns_name(DOMAIN, name)));
        println!("{}", dkim::dns_zone_line(DOMAIN, name, &record));
        fs::write(directory.join(format!("{name}.pem")), pem)?;
    }
    fs::write(directory.join("records.txt"), records)?;
    Ok(())
}

fn sign_all(keys: &Path, input: &Path, output: &Path, prepared: bool) -> Result<(), Failure> {
    let mut signers = Vec::new();
    for (name, algorithm) in [("rsa", Algorithm::RsaSha256), ("ed25519", Algorithm::Ed25519Sha256)] {
        let key = Key::from_pem(&fs::read_to_string(keys.join(format!("{name}.pem")))?, algorithm)?;
        signers.push(Signer { domain: DOMAIN.to_owned(), selector: name.to_owned(), key });
    }
    fs::create_dir_all(output)?;
    let mut count = 0;
    for entry in fs::read_dir(input)? {
        let path = entry?.path();
        let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|e| e == "eml")) else {
            continue;
        };
        let mut message = fs::read(&path)?;
        if prepared {
            let stamp = Stamp { now: SIGNED_AT, host: DOMAIN, unique: count };
            message = read_directives(&normalise_newlines(message), b"", &stamp)?.into_message();
        }
        let mut signed = Vec::new();
        dkim::sign(&signers, &message, None, SIGNED_AT.seconds(), &mut signed)?;
        signed.extend_from_slice(&message);
        fs::write(output.join(name), signed)?;
        count += 1;
    }
    println!("{count} messages signed twice");
    Ok(())
}
