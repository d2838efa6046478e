//! The passwords of routes that are kept in files, read once at the start.

use std::path::Path;
use std::sync::Arc;

use mail::Secret;
use policy::config::{Config, Login};

/// The configuration with the passwords that its routes keep in files.
///
/// # Errors
/// One sentence naming the first file that cannot be used.
pub(crate) fn with_passwords(config: Arc<Config>) -> Result<Arc<Config>, String> {
    let is_in_file = |login: &Arc<Login>| login.password_file.is_some();
    if !config.routes.iter().any(|route| route.access.login.as_ref().is_some_and(is_in_file)) {
        return Ok(config);
    }
    let mut config = Config::clone(&config);
    for login in config.routes.iter_mut().filter_map(|route| route.access.login.as_mut()) {
        if let Some(file) = &login.password_file {
            let password = read(file)?;
            *login = Arc::new(Login { password, ..Login::clone(login) });
        }
    }
    Ok(Arc::new(config))
}

/// The first line of a file.
fn read(file: &Path) -> Result<Secret, String> {
    let path = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("the password file {path} of a route cannot be read: {error}"))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() && !line.chars().any(char::is_control) => Ok(Secret::new(line)),
        _ => Err(format!("the password file {path} of a route must hold the password in its first line")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        for (text, password) in
            [("hunter2\nmore", Some("hunter2")), ("", None), ("\nx", None), ("a\tb", None)]
        {
            let mut file = tempfile::NamedTempFile::new().expect("room");
            file.write_all(text.as_bytes()).expect("room");
            let read = read(file.path());
            assert_eq!(read.as_ref().ok().map(Secret::reveal), password, "{text:?}");
            assert!(!format!("{read:?}").contains("hunter2"));
        }
    }
}
