//! The daemon's database as a file: written as it comes, and checked against what the daemon said of it.

use std::io::Write;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, Response};
use sha2::{Digest, Sha256};

use super::transport::{protocol, read_body, refusal};
use super::{ClientError, ProtocolError, VolumedClient};

/// How long a backup may take as a whole.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How each SQLite file begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// A backup that is whole.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Backup {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
}

impl VolumedClient {
    /// Writes a consistent copy of the daemon's database to `to`, and checks that it is whole: a SQLite file of the size and the
    /// digest that the daemon announced. Asked once, not repeated; what was written is worth nothing where this fails.
    ///
    /// # Errors
    /// `store_full` where the daemon has no room for a copy; [`ClientError::Protocol`] where what came is not what was announced;
    /// [`ClientError::Write`].
    pub async fn back_up(&self, to: &mut (impl Write + Send)) -> Result<Backup, ClientError> {
        let mut request = self.build(self.request(Method::GET, "/database/backup"))?;
        *request.timeout_mut() = Some(PATIENCE);
        let call = self.describe(&request, PATIENCE);
        let mut response = self.http.execute(request).await.map_err(|e| call.failure(e))?;
        let status = response.status();
        if !status.is_success() {
            let body = read_body(response, &call).await?;
            return Err(refusal(&call.what, status, &body));
        }
        let wrong = |reason: &str| protocol(&call.what, ProtocolError::Content(reason.to_owned()));
        let size = response
            .content_length()
            .ok_or_else(|| wrong("it does not say how large it is"))?;
        let digest = announced(&response).ok_or_else(|| wrong("it has no SHA-256 in `Repr-Digest`"))?;
        let (mut sum, mut came, mut head) = (Sha256::new(), 0, Vec::<u8>::new());
        while let Some(chunk) = response.chunk().await.map_err(|e| call.failure(e))? {
            head.extend(chunk.iter().copied().take(MAGIC.len().saturating_sub(head.len())));
            sum.update(&chunk);
            came += chunk.len() as u64;
            to.write_all(&chunk).map_err(ClientError::Write)?;
        }
        let found = sum.finalize();
        if came != size || found.as_slice() != digest {
            return Err(wrong(
                "what came is not what was announced: it was damaged on the way",
            ));
        }
        if head != MAGIC {
            return Err(wrong("it is no SQLite file"));
        }
        let sha256 = found.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Backup {
            size_bytes: came,
            sha256,
        })
    }
}

/// The SHA-256 in `Repr-Digest: sha-256=:…:` (RFC 9530).
fn announced(response: &Response) -> Option<Vec<u8>> {
    let text = response.headers().get("repr-digest")?.to_str().ok()?;
    let encoded = text.strip_prefix("sha-256=:")?.strip_suffix(':')?;
    STANDARD.decode(encoded).ok()
}
