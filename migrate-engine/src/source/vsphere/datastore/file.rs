//! A file of a datastore, read in ranges, from as many tasks as one likes.

use hyper::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, COOKIE, RANGE};
use hyper::{HeaderMap, Method, StatusCode};
use tokio::time::sleep;
use tracing::debug;

use super::super::Session;
use super::super::http::{Arriving, Outgoing, Way};
use super::content_range::ContentRange;
use super::descriptor::flat_extent;
use super::error::FolderError;
use super::path::DatastorePath;
use super::retry::{Next, Tries};

/// Descriptors are a page of text.
const LARGEST_DESCRIPTOR: u64 = 64 << 10;

/// A file of a datastore. Reads of it may run at once, each over a connection of its own; clones share the session.
#[derive(Clone)]
pub struct FolderFile {
    session: Session,
    path: DatastorePath,
    target: String,
    size: u64,
}

impl Session {
    /// Opens a file for reading: asks for its size. `datacenter_path` is that of
    /// [`Machine::datacenter_path`](super::super::Machine::datacenter_path).
    ///
    /// # Errors
    /// A [`FolderError`].
    pub async fn folder_file(
        &self,
        path: &DatastorePath,
        datacenter_path: Option<&str>,
    ) -> Result<FolderFile, FolderError> {
        let mut file = FolderFile {
            session: self.clone(),
            path: path.clone(),
            target: path.target(datacenter_path),
            size: 0,
        };
        file.size = file.ask_size().await?;
        Ok(file)
    }

    /// Opens the file that holds the bytes of the flat disk with the descriptor `path`: the disk of a machine that is
    /// off, or the frozen one of a snapshot. `capacity` is the disk's size in bytes.
    ///
    /// # Errors
    /// [`FolderError::NotFlat`] for links on top of others, sparse and split disks; [`FolderError::Size`]; others.
    pub async fn flat_file(
        &self,
        path: &DatastorePath,
        datacenter_path: Option<&str>,
        capacity: u64,
    ) -> Result<FolderFile, FolderError> {
        let not_flat = |why| FolderError::NotFlat {
            file: path.to_string(),
            why,
        };
        let descriptor = self.folder_file(path, datacenter_path).await?;
        let length = usize::try_from(descriptor.size.min(LARGEST_DESCRIPTOR + 1))
            .expect("a descriptor's size fits into memory");
        if descriptor.size > LARGEST_DESCRIPTOR {
            return Err(not_flat("it is no descriptor of a disk"));
        }
        let mut text = vec![0; length];
        descriptor.read_at(0, &mut text).await?;
        let extent = flat_extent(&String::from_utf8_lossy(&text)).map_err(not_flat)?;
        let file = self
            .folder_file(&path.sibling(&extent.file), datacenter_path)
            .await?;
        for found in [extent.size, file.size] {
            if found != capacity {
                return Err(FolderError::Size {
                    file: file.path.to_string(),
                    expected: capacity,
                    found,
                });
            }
        }
        Ok(file)
    }
}

impl FolderFile {
    /// Its size in bytes, as of when it was opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Which file it is.
    #[must_use]
    pub fn path(&self) -> &DatastorePath {
        &self.path
    }

    /// Asks again how large it is.
    ///
    /// # Errors
    /// [`FolderError::Size`] where it has another size than when it was opened; others.
    pub async fn check_size(&self) -> Result<(), FolderError> {
        match self.ask_size().await? {
            size if size == self.size => Ok(()),
            other => Err(self.other_size(other)),
        }
    }

    /// Fills `buffer` with the bytes at `offset`. Tries again after broken connections, where it stopped; logs in again
    /// once. After an error, or dropped half-way, what is in `buffer` means nothing.
    ///
    /// # Errors
    /// A [`FolderError`]: [`FolderError::Locked`], [`FolderError::OtherRange`], ...
    pub async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), FolderError> {
        let length = u64::try_from(buffer.len()).expect("lengths fit into 64 bits");
        let end = offset.saturating_add(length);
        if end > self.size {
            return Err(FolderError::BeyondEnd {
                file: self.path.to_string(),
                size: self.size,
                end,
            });
        }
        let (mut filled, mut tries, mut way) = (0, Tries::default(), Way::Kept);
        while filled < buffer.len() {
            let generation = self.session.generation();
            let done = u64::try_from(filled).expect("lengths fit into 64 bits");
            let rest = &mut buffer[filled..];
            if let Err(error) = self.read_once(offset + done, rest, &mut filled, way).await {
                self.recover(error, &mut tries, generation).await?;
                way = Way::New;
            }
        }
        Ok(())
    }

    async fn recover(
        &self,
        error: FolderError,
        tries: &mut Tries,
        generation: u64,
    ) -> Result<(), FolderError> {
        match tries.next(&error) {
            Next::GiveUp => return Err(error),
            Next::Again(pause) => {
                debug!(file = %self.path, %error, "read once more");
                sleep(pause).await;
            }
            Next::Renew => {
                let renewed = self.session.renew(generation).await;
                renewed.map_err(|source| FolderError::Session {
                    file: self.path.to_string(),
                    source: source.into(),
                })?;
            }
        }
        Ok(())
    }

    /// Reads as much as comes; `filled` grows by what is certain.
    async fn read_once(
        &self,
        offset: u64,
        buffer: &mut [u8],
        filled: &mut usize,
        way: Way,
    ) -> Result<(), FolderError> {
        let length = u64::try_from(buffer.len()).expect("lengths fit into 64 bits");
        let last = offset + length - 1;
        let range = format!("bytes={offset}-{last}");
        let mut arriving = self
            .open(self.outgoing(Method::GET).header(RANGE, range), way)
            .await?;
        match arriving.status {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::OK => {
                return Err(FolderError::NoRanges {
                    file: self.path.to_string(),
                });
            }
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(self.shrunk(&arriving.headers)),
            status => return Err(self.refused(status)),
        }
        self.check_range(&arriving.headers, offset, last)?;
        let mut place = buffer;
        while let Some(data) = arriving.next().await.map_err(|source| self.broken(source))? {
            if data.len() > place.len() {
                return Err(self.other_range(offset, last, "more bytes than it said"));
            }
            let (now, later) = place.split_at_mut(data.len());
            now.copy_from_slice(&data);
            *filled += data.len();
            place = later;
        }
        if !place.is_empty() {
            return Err(self.other_range(offset, last, "fewer bytes than it said"));
        }
        arriving.finish();
        Ok(())
    }

    fn check_range(&self, headers: &HeaderMap, first: u64, last: u64) -> Result<(), FolderError> {
        let found = header(headers, CONTENT_RANGE.as_str()).unwrap_or("no range");
        let range = ContentRange::parse(found);
        if range.is_none_or(|range| range.first != first || range.last != last) {
            return Err(self.other_range(first, last, found));
        }
        match range.and_then(|range| range.total) {
            Some(total) if total != self.size => Err(self.other_size(total)),
            _ => Ok(()),
        }
    }

    async fn ask_size(&self) -> Result<u64, FolderError> {
        let (mut tries, mut way) = (Tries::default(), Way::Kept);
        loop {
            let generation = self.session.generation();
            match self.size_once(way).await {
                Ok(size) => return Ok(size),
                Err(error) => self.recover(error, &mut tries, generation).await?,
            }
            way = Way::New;
        }
    }

    /// By `HEAD`; where the answer has no length, by the range of the first byte.
    async fn size_once(&self, way: Way) -> Result<u64, FolderError> {
        let arriving = self.open(self.outgoing(Method::HEAD), way).await?;
        let told = header(&arriving.headers, CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
        match (arriving.status, told) {
            (StatusCode::OK, Some(size)) => {
                arriving.finish();
                return Ok(size);
            }
            (StatusCode::OK | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED, _) => {}
            (status, _) => return Err(self.refused(status)),
        }
        let first = self.outgoing(Method::GET).header(RANGE, "bytes=0-0");
        let arriving = self.open(first, Way::New).await?;
        if arriving.status != StatusCode::PARTIAL_CONTENT {
            return Err(self.refused(arriving.status));
        }
        header(&arriving.headers, CONTENT_RANGE.as_str())
            .and_then(ContentRange::parse)
            .and_then(|range| range.total)
            .ok_or_else(|| FolderError::SizeUnknown {
                file: self.path.to_string(),
            })
    }

    fn outgoing(&self, method: Method) -> Outgoing {
        let outgoing = Outgoing::new(method, &self.target).header(ACCEPT_ENCODING, "identity");
        match self.session.cookie() {
            Some(cookie) => outgoing.header(COOKIE, cookie),
            None => outgoing,
        }
    }

    async fn open(&self, outgoing: Outgoing, way: Way) -> Result<Arriving, FolderError> {
        let opened = self.session.channel().open(&outgoing, way).await;
        opened.map_err(|source| self.broken(source))
    }

    fn broken(&self, source: super::super::http::HttpError) -> FolderError {
        FolderError::Http {
            file: self.path.to_string(),
            source,
        }
    }

    fn other_range(&self, first: u64, last: u64, found: &str) -> FolderError {
        FolderError::OtherRange {
            file: self.path.to_string(),
            first,
            last,
            found: found.chars().take(80).flat_map(char::escape_debug).collect(),
        }
    }

    fn other_size(&self, found: u64) -> FolderError {
        FolderError::Size {
            file: self.path.to_string(),
            expected: self.size,
            found,
        }
    }

    /// The error where the server says that the file ends before a range that was in it: `bytes */size`.
    fn shrunk(&self, headers: &HeaderMap) -> FolderError {
        header(headers, CONTENT_RANGE.as_str())
            .and_then(|text| text.trim().strip_prefix("bytes */")?.parse().ok())
            .filter(|size| *size != self.size)
            .map_or_else(
                || self.refused(StatusCode::RANGE_NOT_SATISFIABLE),
                |size| self.other_size(size),
            )
    }

    fn refused(&self, status: StatusCode) -> FolderError {
        let file = self.path.to_string();
        match status.as_u16() {
            401 => FolderError::Unauthorized { file },
            403 => FolderError::Forbidden { file },
            404 => FolderError::NotFound { file },
            500 => FolderError::Locked { file },
            status @ (429 | 502 | 503 | 504) => FolderError::Busy { file, status },
            status => FolderError::Status { file, status },
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
