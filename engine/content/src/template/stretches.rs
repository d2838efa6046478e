//! What a rendering leaves in the template: long stretches that are the same for every recipient, to be sent from there.

use smallvec::SmallVec;

use super::Template;
use super::render::{BodyPiece, Content};

/// The stretches of one message, in their order.
pub type Stretches = SmallVec<[Stretch; 4]>;

/// Whole lines of a message that stand in its template only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// How many of the bytes that were written come before it.
    pub(super) at: usize,
    /// Which part of the body it is of.
    pub(super) part: u32,
    /// Which piece of the part.
    pub(super) piece: u32,
}

impl Stretch {
    /// To be told when so many bytes are put before the message.
    pub fn move_by(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

impl Template {
    /// A message of [`Template::render_around`] in the order in which it is read: stretches of the template between the
    /// `bytes` that were written. Every piece but the last ends with a line.
    ///
    /// # Panics
    /// When they are not of the same message of this template.
    pub fn pieces<'a>(
        &'a self,
        bytes: &'a [u8],
        stretches: &'a [Stretch],
    ) -> impl Iterator<Item = &'a [u8]> + Clone {
        let mut from = 0;
        let both = stretches.iter().flat_map(move |stretch| {
            let before = &bytes[from..stretch.at];
            from = stretch.at;
            [before, self.stretch(*stretch)]
        });
        let behind = stretches.last().map_or(0, |last| last.at);
        both.chain([&bytes[behind..]]).filter(|piece| !piece.is_empty())
    }

    fn stretch(&self, stretch: Stretch) -> &[u8] {
        match &self.body[stretch.part as usize].content {
            Content::Static(encoded) => encoded.stretch(),
            Content::Pieces(pieces) => match &pieces[stretch.piece as usize] {
                BodyPiece::Text(encoded) => encoded.stretch(),
                BodyPiece::Field(_) => &[],
            },
            Content::Script(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::template::CampaignDraft;
    use crate::template::tests::RECIPIENT;

    fn template(text: String, html: String) -> Template {
        let from = "news@example.test".to_owned();
        Template::compile(&CampaignDraft { from, text, html, ..CampaignDraft::default() }).expect("compiles")
    }

    /// Renders both ways and compares; returns how many bytes and stretches were written.
    fn check(template: &Template, values: &[&str]) -> (usize, usize) {
        let mut whole = b"before".to_vec();
        template.render(values, &RECIPIENT, &mut whole).expect("renders");
        let (mut bytes, mut stretches) = (b"before".to_vec(), Stretches::new());
        template.render_around(values, &RECIPIENT, &mut bytes, &mut stretches).expect("renders");
        let pieces: Vec<&[u8]> = template.pieces(&bytes[6..], &stretches).collect();
        assert_eq!(pieces.concat(), &whole[6..]);
        let (last, others) = pieces.split_last().expect("is not empty");
        assert!(!last.is_empty() && others.iter().all(|piece| piece.ends_with(b"\r\n")));
        (bytes.len(), stretches.len())
    }

    #[test]
    fn long_stretches_stay_in_the_template() {
        let rows = "A line of the newsletter, as long as most are.\n".repeat(100);
        let merged = format!("Dear {{{{ first }}}}\n{rows}{{{{ last }}}}\n{rows}");
        let (bytes, stretches) =
            check(&template(rows.clone(), merged.clone()), &["Zoë", "x".repeat(200).as_str()]);
        assert_eq!(stretches, 3);
        assert!(bytes < 2048, "{bytes} bytes");
        // What a script puts out is the recipient's own, and what is short is not worth a piece.
        assert_eq!(
            check(&template(format!("{{% if first %}}{merged}{{% endif %}}"), String::new()), &["a", "b"]).1,
            0
        );
        assert_eq!(check(&template("Dear {{ first }}\n\nBye\n".to_owned(), String::new()), &["a"]).1, 0);
    }

    proptest! {
        #[test]
        fn both_ways_write_the_same(
            lines in prop::collection::vec("[ -z|~é\t]{0,90}", 0..60),
            at in any::<prop::sample::Index>(),
            ends_with_line in any::<bool>(),
            value in "(\\PC|\r|\n|\t| |=){0,120}",
        ) {
            let field = at.index(lines.len() + 1);
            let (before, behind) = lines.split_at(field);
            let text = format!("{}{{{{ a }}}}{}", before.join("\n"), behind.join("\n"));
            let still = lines.join("\n") + if ends_with_line { "\n" } else { "" };
            check(&template(text.clone(), String::new()), &[&value]);
            check(&template(still.clone() + "x", text), &[&value]);
            check(&template(still + "x", String::new()), &[]);
        }
    }
}
