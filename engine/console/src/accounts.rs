//! `GET /v1/accounts`: the accounts, and how much of their quotas they have used.

use axum::extract::State;
use axum::{Extension, Json};
use mail::UnixMs;
use mta::{AccountView, QuotaView};
use report::as_optional_time;
use serde::Serialize;

use crate::Caller;
use crate::app::Console;

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Accounts {
    accounts: Vec<Account>,
}

#[derive(Debug, Serialize)]
struct Account {
    name: String,
    /// The pool its mail leaves from; null when that of the class.
    pool: Option<String>,
    /// Null when it may hand over as much as it likes.
    quota: Option<Quota>,
}

#[derive(Debug, Serialize)]
struct Quota {
    rate: String,
    used: u64,
    left: u64,
    waiting: u64,
    critical_used: u64,
    #[serde(serialize_with = "as_optional_time")]
    free_at: Option<UnixMs>,
}

impl From<QuotaView> for Quota {
    fn from(quota: QuotaView) -> Self {
        let QuotaView { rate, used, left, waiting, critical_used, free_at } = quota;
        Self { rate, used, left, waiting, critical_used, free_at }
    }
}

/// All accounts for the operator; for an account itself.
pub(crate) async fn show(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
) -> Json<Accounts> {
    let seen = console.handle.accounts().into_iter().filter(|account| caller.may_see(&account.name));
    let account = |account: AccountView| Account {
        name: account.name,
        pool: account.pool,
        quota: account.quota.map(Quota::from),
    };
    Json(Accounts { accounts: seen.map(account).collect() })
}
