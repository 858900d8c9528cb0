//! Tokens: made, listed, given other secrets, revoked, and recognised. Every change leaves a line in the audit trail.

use std::time::Duration;

use jiff::Timestamp;

use super::secret::{self, Secret};
use crate::model::Scope;
use crate::store::{AuditEntry, Store, StoreError, TokenRecord, Tx, audit, tokens};

/// How exactly the last use is known: a write at each request would cost more than it tells.
const USE_IS_NOTED_EVERY: Duration = Duration::from_secs(600);

/// How often it is looked whether the token of a stream still lets it go on.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The tokens of a daemon. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    store: Store,
}

/// What is asked of a new token.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// What it lets do.
    pub scope: Scope,
    /// Until when it works.
    pub expires_at: Option<Timestamp>,
}

/// Why a change of tokens was not made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is one of this name.
    #[error("there is a token `{0}` already")]
    Exists(String),
    /// There is none of this name.
    #[error("there is no token `{0}`")]
    Missing(String),
    /// The records.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Tokens {
    /// The tokens in these records.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Those that were not revoked.
    ///
    /// # Errors
    /// Where the records cannot be read.
    pub async fn list(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.store.read(tokens::all).await
    }

    /// Makes one. Its secret is nowhere but in the answer.
    ///
    /// # Errors
    /// [`TokenError::Exists`], or where it cannot be recorded; there is no token then.
    pub async fn create(&self, wanted: Wanted, actor: String) -> Result<(TokenRecord, Secret), TokenError> {
        let id = secret::new_id();
        let secret = Secret::new(&id);
        let row = tokens::NewRow {
            id,
            name: wanted.name,
            scope: wanted.scope,
            hash: secret.hash(),
            created_by: actor,
            expires_at: wanted.expires_at,
        };
        let made = self.store.write(move |tx| {
            if tokens::by_name(tx, &row.name)?.is_some() {
                return Ok::<_, StoreError>(Err(TokenError::Exists(row.name)));
            }
            tokens::insert(tx, &row)?;
            let after = format!("{} {}", row.scope, until(row.expires_at));
            note(tx, "token_created", &row.created_by, &row.name, Some(&after))?;
            Ok(found(tx, &row.name))
        });
        made.await?.map(|record| (record, secret))
    }

    /// Gives one another secret. The one of now works for `overlap` longer, so that callers can be changed over; one that was
    /// there before that ends at once.
    ///
    /// # Errors
    /// [`TokenError::Missing`], or where it cannot be recorded; nothing has changed then.
    pub async fn rotate(
        &self,
        name: String,
        overlap: Duration,
        actor: String,
    ) -> Result<(TokenRecord, Secret), TokenError> {
        let rotated = self.store.write(move |tx| {
            let record = match found(tx, &name) {
                Ok(record) => record,
                Err(error) => return Ok::<_, StoreError>(Err(error)),
            };
            let secret = Secret::new(&record.id);
            let until = tx.now().saturating_add(overlap).unwrap_or(Timestamp::MAX);
            tokens::rotate(tx, &record.id, &secret.hash(), until)?;
            let after = format!("the former secret works until {until}");
            note(tx, "token_rotated", &actor, &name, Some(&after))?;
            Ok(found(tx, &name).map(|record| (record, secret)))
        });
        rotated.await?
    }

    /// Revokes one, with all its secrets. Streams that it began end within seconds.
    ///
    /// # Errors
    /// [`TokenError::Missing`], or where it cannot be recorded; it works on then.
    pub async fn revoke(&self, name: String, actor: String) -> Result<(), TokenError> {
        let revoked = self.store.write(move |tx| {
            let record = match found(tx, &name) {
                Ok(record) => record,
                Err(error) => return Ok::<_, StoreError>(Err(error)),
            };
            tokens::revoke(tx, &record.id)?;
            note(tx, "token_revoked", &actor, &name, None)?;
            Ok(Ok(()))
        });
        revoked.await?
    }

    /// The token that this is the secret of, if it works now.
    ///
    /// # Errors
    /// Where the records cannot be read: nobody is let in on that.
    pub async fn recognise(&self, text: &str) -> Result<Option<TokenRecord>, StoreError> {
        let Some(id) = secret::id_of(text).map(str::to_owned) else {
            return Ok(None);
        };
        let record = self.store.read(move |conn| tokens::by_id(conn, &id)).await?;
        let now = Timestamp::now();
        let Some(record) = record.filter(|record| works(record, text, now)) else {
            return Ok(None);
        };
        self.note_use(&record, now);
        Ok(Some(record))
    }

    /// Returns once the token that `text` is the secret of works no more. Where the records cannot be read, it is looked again.
    pub async fn ended(self, text: String) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Ok(None) = self.recognise(&text).await {
                return;
            }
        }
    }

    fn note_use(&self, record: &TokenRecord, now: Timestamp) {
        let is_known = |last: Timestamp| now.duration_since(last).unsigned_abs() < USE_IS_NOTED_EVERY;
        if record.last_used_at.is_some_and(is_known) {
            return;
        }
        let (store, id) = (self.store.clone(), record.id.clone());
        tokio::spawn(async move {
            let noted = store.write(move |tx| tokens::touch(tx, &id)).await;
            if let Err(error) = noted {
                tracing::debug!(%error, "the use of a token was not noted");
            }
        });
    }
}

/// Whether `text` opens the door of this token now.
fn works(record: &TokenRecord, text: &str, now: Timestamp) -> bool {
    if record.expires_at.is_some_and(|at| at <= now) {
        return false;
    }
    let is_former_good = record.former_until.is_some_and(|until| now < until);
    let former = record.former_hash.as_deref().filter(|_| is_former_good);
    secret::is_of(text, &record.hash) || former.is_some_and(|former| secret::is_of(text, former))
}

fn found(tx: &Tx<'_>, name: &str) -> Result<TokenRecord, TokenError> {
    tokens::by_name(tx, name)?.ok_or_else(|| TokenError::Missing(name.to_owned()))
}

fn note(tx: &Tx<'_>, action: &str, actor: &str, name: &str, after: Option<&str>) -> Result<(), StoreError> {
    let entry = AuditEntry {
        actor,
        action,
        before: Some(name),
        after,
        ..AuditEntry::default()
    };
    audit::append(tx, &entry)
}

fn until(expires_at: Option<Timestamp>) -> String {
    expires_at.map_or_else(|| "for ever".to_owned(), |at| format!("until {at}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("volumed.db")).unwrap();
        (dir, store)
    }

    fn wanted(name: &str, expires_at: Option<Timestamp>) -> Wanted {
        Wanted {
            name: name.to_owned(),
            scope: Scope::Operate,
            expires_at,
        }
    }

    #[tokio::test]
    async fn a_token_works_until_it_is_rotated_expired_or_revoked() {
        let (_dir, store) = store().await;
        let tokens = Tokens::new(store.clone());
        let knows = async |secret: &Secret| tokens.recognise(secret.reveal()).await.unwrap().is_some();
        let me = || "me".to_owned();
        let (record, first) = tokens.create(wanted("ci", None), me()).await.unwrap();
        assert_eq!((record.name.as_str(), record.scope), ("ci", Scope::Operate));
        assert!(knows(&first).await);
        let again = tokens.create(wanted("ci", None), me()).await;
        assert!(matches!(again, Err(TokenError::Exists(_))));

        let hour = Duration::from_secs(3600);
        let (_, second) = tokens.rotate("ci".into(), hour, me()).await.unwrap();
        assert!(knows(&first).await && knows(&second).await, "the overlap");
        let (_, third) = tokens.rotate("ci".into(), Duration::ZERO, me()).await.unwrap();
        assert!(!knows(&first).await && !knows(&second).await && knows(&third).await);

        let past = Timestamp::now() - Duration::from_secs(1);
        let (_, old) = tokens.create(wanted("old", Some(past)), me()).await.unwrap();
        assert!(!knows(&old).await);

        tokens.revoke("ci".into(), me()).await.unwrap();
        assert!(!knows(&third).await);
        assert!(matches!(
            tokens.revoke("ci".into(), me()).await,
            Err(TokenError::Missing(_))
        ));
        tokens.create(wanted("ci", None), me()).await.unwrap();

        let audit = store
            .read(|conn| audit::list(conn, None, None, 100))
            .await
            .unwrap();
        let actions: Vec<_> = audit.iter().rev().map(|line| line.action.as_str()).collect();
        let made = "token_created";
        assert_eq!(
            actions,
            [
                made,
                "token_rotated",
                "token_rotated",
                made,
                "token_revoked",
                made
            ]
        );
        store.close().await;
    }

    #[tokio::test]
    async fn no_secret_is_in_the_database() {
        let (dir, store) = store().await;
        let (_, secret) = Tokens::new(store.clone())
            .create(wanted("x", None), "me".into())
            .await
            .unwrap();
        store.close().await;
        let part = secret.reveal().rsplit('_').next().unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(part.len()).any(|window| window == part.as_bytes()));
        }
    }
}
