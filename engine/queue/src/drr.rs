//! Whose turn it is: shares of the classes by weight. It refuses to move mail.
//!
//! The unit is one recipient, because that is what receivers count; with it a deficit is the number of turns left.

use mail::Class;

/// The shares of the three classes below critical on one path: a deficit round robin in which the most urgent class
/// that has something left of its share goes first. So a class neither waits behind a less urgent one for longer
/// than its share allows, nor starves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shares {
    /// What each class has left; below zero when one transaction took more recipients than that.
    pub(crate) left: [i32; 4],
}

impl Shares {
    /// The class to serve among those that have something `ready`; critical is not among them.
    pub(crate) fn choose(&mut self, weights: &[u32; 4], ready: &[u32; 4]) -> Option<Class> {
        if let Some(class) = self.most_urgent(ready) {
            return Some(class);
        }
        self.refill(&weights.map(share_of), ready);
        self.most_urgent(ready)
    }

    /// Gives every class its share as often as it takes until one that is ready has something left; nobody saves up.
    fn refill(&mut self, shares: &[i32; 4], ready: &[u32; 4]) {
        let rounds_of = |index: usize| (shares[index] - self.left[index]) / shares[index];
        let Some(rounds) = (1..4).filter(|&index| ready[index] > 0).map(rounds_of).min() else { return };
        for (left, share) in self.left.iter_mut().zip(shares) {
            *left = left.saturating_add(share.saturating_mul(rounds)).min(*share);
        }
    }

    /// Counts one recipient of `class` as served.
    pub(crate) fn charge(&mut self, class: Class) {
        let left = &mut self.left[class.index()];
        *left = left.saturating_sub(1);
    }

    /// Takes back a recipient that was counted.
    pub(crate) fn refund(&mut self, class: Class) {
        let left = &mut self.left[class.index()];
        *left = left.saturating_add(1);
    }

    fn most_urgent(&self, ready: &[u32; 4]) -> Option<Class> {
        let may_go = |class: &Class| ready[class.index()] > 0 && self.left[class.index()] > 0;
        Class::ALL.into_iter().skip(1).find(may_go)
    }
}

/// What a class gets in one round.
fn share_of(weight: u32) -> i32 {
    i32::try_from(weight.max(1)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_pays_for_a_transaction_of_many_recipients() {
        let (mut shares, weights, ready) = (Shares::default(), [9, 4, 1, 1], [0, 9, 0, 9]);
        let mut seen = [0_u32; 4];
        for _ in 0..4000 {
            let class = shares.choose(&weights, &ready).expect("something is ready");
            let recipients = if class == Class::Bulk { 50 } else { 1 };
            (0..recipients).for_each(|_| shares.charge(class));
            seen[class.index()] += recipients;
        }
        let ratio = f64::from(seen[1]) / f64::from(seen[3]);
        assert!((3.5..=4.5).contains(&ratio), "{seen:?}");
    }

    #[test]
    fn shares_follow_the_weights_and_the_urgent_go_first() {
        let mut shares = Shares::default();
        let mut seen = String::new();
        for _ in 0..14 {
            let class = shares.choose(&[9, 4, 2, 1], &[0, 99, 99, 99]).expect("something is ready");
            shares.charge(class);
            seen.push_str(&class.name()[..1]);
        }
        assert_eq!(seen, "ttttppbttttppb");
    }

    #[test]
    fn a_class_that_comes_late_still_has_its_share() {
        let mut shares = Shares::default();
        for _ in 0..3 {
            assert_eq!(shares.choose(&[1, 4, 2, 9], &[0, 0, 0, 50]), Some(Class::Bulk));
            shares.charge(Class::Bulk);
        }
        assert_eq!(shares.choose(&[1, 4, 2, 9], &[0, 1, 0, 50]), Some(Class::Transactional));
        assert_eq!(shares.choose(&[0; 4], &[7, 0, 0, 0]), None);
    }
}
