//! Reads one command line (RFC 5321 section 4.1.1); knows the words, not whether they fit the moment.

/// A refusal as a reply line without CRLF.
pub(super) type Refusal = &'static str;

/// A command with its arguments still as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Ehlo(&'a str),
    Helo(&'a str),
    /// What stands behind `FROM:`.
    Mail(&'a str),
    /// What stands behind `TO:`.
    Rcpt(&'a str),
    Data,
    Bdat {
        size: u64,
        last: bool,
    },
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
    StartTls,
    Auth(&'a str),
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandError {
    /// To be answered with this; the session goes on.
    Refused(Refusal),
    /// To be answered with this; the session ends, because what follows cannot be told apart from commands.
    Fatal(Refusal),
}

/// Reads a line without its CRLF. Trailing blanks are tolerated (RFC 5321 section 4.1.1).
pub(super) fn parse(line: &[u8]) -> Result<Command<'_>, CommandError> {
    use CommandError::Refused;
    if memchr::memchr2(0, b'\r', line).is_some() {
        return Err(Refused("500 5.5.2 The line holds a bare CR or a NUL"));
    }
    let line = std::str::from_utf8(line).map_err(|_| Refused("500 5.5.2 The line is not UTF-8"))?;
    let line = line.trim_end_matches([' ', '\t']);
    let (verb, arguments) = line.split_once(' ').unwrap_or((line, ""));
    let mut upper = [0; 8];
    let verb = verb.as_bytes();
    let Some(upper) = upper.get_mut(..verb.len()) else { return Err(Refused(UNKNOWN)) };
    upper.copy_from_slice(verb);
    upper.make_ascii_uppercase();
    match &*upper {
        b"EHLO" => Ok(Command::Ehlo(arguments)),
        b"HELO" => Ok(Command::Helo(arguments)),
        b"MAIL" => behind(arguments, "FROM:").map(Command::Mail).ok_or(Refused(MAIL_SYNTAX)),
        b"RCPT" => behind(arguments, "TO:").map(Command::Rcpt).ok_or(Refused(RCPT_SYNTAX)),
        b"BDAT" => chunk(arguments).ok_or(CommandError::Fatal("521 5.5.4 Syntax: BDAT size [LAST]; closing")),
        b"AUTH" => Ok(Command::Auth(arguments)),
        b"DATA" => bare(arguments, Command::Data),
        b"RSET" => bare(arguments, Command::Rset),
        b"QUIT" => bare(arguments, Command::Quit),
        b"STARTTLS" => bare(arguments, Command::StartTls),
        b"NOOP" => Ok(Command::Noop),
        b"HELP" => Ok(Command::Help),
        b"VRFY" if !arguments.is_empty() => Ok(Command::Vrfy),
        b"VRFY" => Err(Refused("501 5.5.4 Syntax: VRFY address")),
        b"EXPN" | b"TURN" | b"ETRN" => Err(Refused("502 5.5.1 Not implemented")),
        // A browser that was led to this port carries its user's text, not a client's commands.
        b"GET" | b"POST" | b"PUT" | b"CONNECT" | b"OPTIONS" => {
            Err(CommandError::Fatal("521 5.5.1 This is a mail server; closing"))
        }
        _ => Err(Refused(UNKNOWN)),
    }
}

/// The reply to a malformed MAIL.
pub(super) const MAIL_SYNTAX: Refusal = "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]";
/// The reply to a malformed RCPT.
pub(super) const RCPT_SYNTAX: Refusal = "501 5.5.4 Syntax: RCPT TO:<address> [parameters]";
const UNKNOWN: Refusal = "500 5.5.2 Command not recognized";

fn behind<'a>(arguments: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, rest) = arguments.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then_some(rest)
}

fn bare<'a>(arguments: &str, command: Command<'a>) -> Result<Command<'a>, CommandError> {
    let refused = CommandError::Refused("501 5.5.4 This command takes no argument");
    if arguments.is_empty() { Ok(command) } else { Err(refused) }
}

/// `size [LAST]` of BDAT (RFC 3030 section 2).
fn chunk(arguments: &str) -> Option<Command<'static>> {
    let (size, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
    let last = match rest {
        "" => false,
        word if word.eq_ignore_ascii_case("LAST") => true,
        _ => return None,
    };
    digits(size).map(|size| Command::Bdat { size, last })
}

/// A number of nothing but digits; `str::parse` would take a plus sign as well.
pub(super) fn digits(text: &str) -> Option<u64> {
    let only_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if only_digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_read_in_any_case() {
        for (line, command) in [
            ("eHlO me", Command::Ehlo("me")),
            ("mail from:<a@b> SIZE=1", Command::Mail("<a@b> SIZE=1")),
            ("RCPT To: <a@b>  ", Command::Rcpt(" <a@b>")),
            ("bdat 10", Command::Bdat { size: 10, last: false }),
            ("BDAT 0 last", Command::Bdat { size: 0, last: true }),
            ("QUIT \t", Command::Quit),
            ("NOOP anything", Command::Noop),
            ("STARTTLS", Command::StartTls),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(command), "{line:?}");
        }
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for (line, code) in [
            (&b""[..], "500"),
            (b"FOO", "500"),
            (b"STARTTLSX", "500"),
            (b"MAILFROM:<a@b>", "500"),
            (b"\xff\xff", "500"),
            (b"NOOP \0", "500"),
            (b"NOOP \r", "500"),
            (b"MAIL <a@b>", "501"),
            (b"MAIL FROM", "501"),
            (b"RCPT FROM:<a@b>", "501"),
            (b"DATA now", "501"),
            (b"VRFY", "501"),
            (b"EXPN list", "502"),
        ] {
            let Err(CommandError::Refused(text)) = parse(line) else { panic!("{line:?}") };
            assert!(text.starts_with(code), "{line:?}: {text}");
        }
    }

    #[test]
    fn what_hides_its_own_end_is_fatal() {
        for line in [
            "BDAT",
            "BDAT ",
            "BDAT x",
            "BDAT +1",
            "BDAT -1",
            "BDAT 1 LAST x",
            "BDAT 1  LAST",
            "BDAT 99999999999999999999",
            "GET / HTTP/1.1",
            "POST /",
        ] {
            assert!(matches!(parse(line.as_bytes()), Err(CommandError::Fatal(_))), "{line:?}");
        }
    }
}
