//! The TXT record at `_mta-sts.DOMAIN`: that there is a policy, and which.

use crate::fields::{fields, only_record};

/// Longest `id` (RFC 8461 section 3.1).
const ID_BYTES_MAX: usize = 32;

/// The `id` of the policy that the TXT records announce, each the strings of one record joined; `None` when there is no
/// policy. Records of other kinds are passed over; with two records of MTA-STS, or one that is not written as RFC 8461
/// section 3.1 has it, there is none. Unknown fields are ignored, as is a field's repetition.
#[must_use]
pub fn policy_id(texts: &[String]) -> Option<&str> {
    let fields = fields(only_record(texts, "v=STSv1")?)?;
    let (_, id) = fields.into_iter().find(|(name, _)| *name == "id")?;
    let is_id = id.len() <= ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_id.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(texts: &[&str]) -> Option<String> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        policy_id(&texts).map(str::to_owned)
    }

    #[test]
    fn a_record_announces_a_policy_by_its_id() {
        for (text, id) in [
            ("v=STSv1; id=20160831085700Z;", "20160831085700Z"),
            ("v=STSv1;id=1", "1"),
            ("v=STSv1 ;\tid=a1 ; ", "a1"),
            ("v=STSv1; new.field-1=some:thing; id=7; other=x", "7"),
            ("v=STSv1; id=1; id=2", "1"),
            ("v=STSv1; id=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ] {
            assert_eq!(id_of(&[text]).as_deref(), Some(id), "{text}");
        }
    }

    #[test]
    fn a_record_that_is_not_in_order_announces_nothing() {
        for text in [
            "",
            "v=STSv1",
            "v=STSv1;",
            "v=STSv1; id=",
            "v=STSv1; id=a-b",
            "v=STSv1; id = 1",
            "v=STSv1; id=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "v=STSv1; ID=1",
            "v=STSv1;; id=1",
            "v=STSv1; id=1;;",
            "v=STSv1; id=1; stray",
            "v=STSv1; id=1; _x=2",
            "v=STSv1; id=1; x=caf\u{e9}",
            "V=STSv1; id=1",
            "v=stsv1; id=1",
            "v=STSv2; id=1",
            "v=STSv1x; id=1",
            " v=STSv1; id=1",
            "id=1; v=STSv1",
        ] {
            assert_eq!(id_of(&[text]), None, "{text:?}");
        }
    }

    #[test]
    fn one_record_among_others_counts_and_two_count_as_none() {
        assert_eq!(id_of(&["v=spf1 -all", "v=STSv1; id=1", "v=STSv11; id=3"]).as_deref(), Some("1"));
        assert_eq!(id_of(&["v=STSv1; id=1", "v=STSv1; id=1"]), None);
        assert_eq!(id_of(&["v=STSv1; id=1", "v=STSv1; broken"]), None);
        assert_eq!(id_of(&[]), None);
    }
}
