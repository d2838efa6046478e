//! The rules.
use super::{Action, Scope, Verdict};
use mail::{Phase, Reply};
pub(super) struct Rules;
pub(super) fn builtin() -> Rules {
    Rules
}
impl Rules {
    pub(super) fn judge(&self, _: Phase, _: &Reply, _: &str) -> Verdict {
        Verdict {
            class: "system",
            scope: Scope::Site,
            action: Action::Defer,
            suppress: false,
            alert: false,
            rule: "",
        }
    }
}
