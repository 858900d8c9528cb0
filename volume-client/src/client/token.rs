//! Tokens of the daemon: list, make, rotate, revoke, and whose a secret is. All of it takes an administrator.

use super::page::Unfiltered;
use super::transport::{name, refusal};
use super::{ClientError, VolumedClient};
use crate::types::{
    Cursor, IntrospectToken, Introspection, NewToken, Page, RotateToken, Secret, Token, TokenGrant,
};

impl VolumedClient {
    /// The tokens that were not revoked, by name.
    ///
    /// # Errors
    /// As for every reading: see [`ClientError`].
    pub async fn list_tokens(&self) -> Result<Vec<Token>, ClientError> {
        let page: Page<Token> = self.page("/tokens", &Unfiltered {}, &Cursor::default()).await?;
        Ok(page.items)
    }

    /// Makes a token. Its secret is in the answer and nowhere else: where the answer was lost, a repetition gets
    /// `token_exists`, and [`VolumedClient::rotate_token`] gives another secret.
    ///
    /// # Errors
    /// A problem `token_exists`, or as for every change.
    pub async fn create_token(&self, new: &NewToken) -> Result<TokenGrant, ClientError> {
        self.fetch(self.post("/tokens", new)).await
    }

    /// Gives a token another secret; the former one works on for as long as is asked, an hour by default.
    ///
    /// # Errors
    /// A problem `token_not_found`, or as for every change.
    pub async fn rotate_token(&self, name: &str, rotate: &RotateToken) -> Result<TokenGrant, ClientError> {
        self.fetch(self.post(&format!("/tokens/{name}/rotate"), rotate))
            .await
    }

    /// Revokes a token, with all its secrets.
    ///
    /// # Errors
    /// A problem `token_not_found`, also after a try that may have arrived and done it.
    pub async fn revoke_token(&self, token: &str) -> Result<(), ClientError> {
        let request = self.build(self.delete(&format!("/tokens/{token}")))?;
        let what = name(&request);
        let answer = self.send(request).await?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(refusal(&what, answer.status, &answer.body)),
        }
    }

    /// The token that this is the secret of, where it works now.
    ///
    /// # Errors
    /// As for every change, although it changes nothing.
    pub async fn introspect_token(&self, secret: Secret) -> Result<Option<Token>, ClientError> {
        let answer: Introspection = self
            .fetch(self.post("/tokens/introspect", &IntrospectToken { secret }))
            .await?;
        Ok(answer.token)
    }
}
