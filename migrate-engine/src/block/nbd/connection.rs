//! One connection in transmission: requests go out, replies come back in any order and find their request.

use std::collections::{HashMap, VecDeque};
use std::io::{BufReader, Write};
use std::ops::Range;
use std::time::Duration;

use super::super::{Cancel, Extent, ReadRequest};
use super::NbdOptions;
use super::error::NbdError;
use super::handshake::{self, StatusOf, Terms};
use super::socket::Socket;
use super::uri::NbdUri;
use super::wire::{self, Command};

/// Requests in flight on one connection; servers work on 16 at a time.
const MOST_IN_FLIGHT: usize = 16;
/// Small: it joins a payload's end with the next header; payloads go straight to their buffer.
const READ_AHEAD: usize = 4096;

pub(super) struct Connection {
    pub(super) stream: BufReader<Socket>,
    pub(super) terms: Terms,
    pub(super) patience: Duration,
    pub(super) pending: HashMap<u64, Pending>,
    /// Reads that wait for some of their parts, by ticket.
    pub(super) reads: HashMap<u64, PartialRead>,
    pub(super) completed: VecDeque<ReadRequest>,
    /// The outcome of the one block status request that may be under way.
    pub(super) mapped: Option<Result<Vec<Extent>, NbdError>>,
    /// How long replies were waited for in all, where that was longer than a moment: the server is slow, or far.
    pub(super) starved: Duration,
    next_number: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Healthy,
    Spent,
}

/// A request whose last reply is still to come.
pub(super) struct Pending {
    pub(super) command: Command,
    pub(super) offset: u64,
    pub(super) length: u32,
    /// For reads: whose buffer, and where in it.
    pub(super) place: Option<(u64, usize)>,
    /// For reads: what arrived so far, in order, joined.
    pub(super) arrived: Vec<Range<u64>>,
    pub(super) extents: Option<Vec<Extent>>,
    pub(super) failure: Option<NbdError>,
    pub(super) error_chunks: usize,
}

pub(super) struct PartialRead {
    pub(super) request: ReadRequest,
    pub(super) parts_left: usize,
}

impl Connection {
    /// Connects and negotiates; `cancel` ends waits, here and later, until another flag is set.
    pub(super) fn open(
        uri: &NbdUri,
        options: &NbdOptions,
        status: StatusOf<'_>,
        cancel: &Cancel,
    ) -> Result<Self, NbdError> {
        let mut socket = Socket::connect(&uri.endpoint, options.connect_timeout)?;
        socket.set_cancel(cancel.clone(), Duration::ZERO);
        if let Some(tunnel) = &options.tunnel {
            tunnel.enter(&mut socket, &uri.endpoint, options.connect_timeout)?;
        }
        let encrypts = uri.tls.as_ref().filter(|_| options.tunnel.is_none());
        handshake::greet(
            &mut socket,
            &uri.export,
            encrypts.is_some(),
            options.connect_timeout,
        )?;
        if let Some(tls) = encrypts {
            super::tls::begin(&mut socket, tls, &uri.endpoint, options.connect_timeout)?;
        }
        let terms = handshake::negotiate(&mut socket, &uri.export, status, options.connect_timeout)?;
        socket.set_patience(options.silence_timeout);
        Ok(Self {
            stream: BufReader::with_capacity(READ_AHEAD, socket),
            terms,
            patience: options.silence_timeout,
            pending: HashMap::new(),
            reads: HashMap::new(),
            completed: VecDeque::new(),
            mapped: None,
            starved: Duration::ZERO,
            next_number: 0,
            state: State::Healthy,
        })
    }

    /// From now on, waits end `grace` after `cancel` was raised.
    pub(super) fn set_cancel(&mut self, cancel: &Cancel, grace: Duration) {
        self.stream.get_mut().set_cancel(cancel.clone(), grace);
    }

    /// From now on, waits without a byte end after this long.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
        self.stream.get_mut().set_patience(patience);
    }

    /// Nothing is owed by either side, and nothing went wrong: fit for another user.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Healthy && self.pending.is_empty() && self.completed.is_empty()
    }

    /// The reads that were not answered in full, to be asked for elsewhere.
    pub(super) fn take_reads(&mut self) -> Vec<ReadRequest> {
        self.reads.drain().map(|(_, read)| read.request).collect()
    }

    /// Requests every wanted part of a read.
    pub(super) fn start_read(&mut self, request: ReadRequest) -> Result<(), NbdError> {
        let ticket = self.number();
        let base = request.offset;
        let largest = self.terms.largest_payload as usize;
        let pieces: Vec<Range<usize>> = request
            .wanted
            .iter()
            .flat_map(|part| pieces(part.clone(), largest))
            .collect();
        if pieces.is_empty() {
            self.completed.push_back(request);
            return Ok(());
        }
        self.reads.insert(
            ticket,
            PartialRead {
                request,
                parts_left: pieces.len(),
            },
        );
        for piece in pieces {
            let length = u32::try_from(piece.len()).expect("a piece is no larger than a payload");
            let mut pending = Pending::new(Command::Read, base + piece.start as u64, length);
            pending.place = Some((ticket, piece.start));
            self.start(pending, 0, &[])?;
        }
        Ok(())
    }

    /// Sends a request with its payload, after waiting for room; its reply comes through `receive`.
    pub(super) fn start(&mut self, pending: Pending, flags: u16, payload: &[u8]) -> Result<(), NbdError> {
        while self.pending.len() >= MOST_IN_FLIGHT {
            self.receive()?;
        }
        self.usable()?;
        let cookie = self.number();
        let header = wire::request(pending.command, flags, cookie, pending.offset, pending.length);
        self.pending.insert(cookie, pending);
        let socket = self.stream.get_mut();
        let sent = socket.write_all(&header).and_then(|()| socket.write_all(payload));
        let sent = sent.and_then(|()| socket.flush());
        let sent = sent.map_err(|error| NbdError::transport("send to", error, self.patience));
        self.note(sent)
    }

    /// Waits until no request is in flight.
    pub(super) fn settle(&mut self) -> Result<(), NbdError> {
        while !self.pending.is_empty() {
            self.receive()?;
        }
        Ok(())
    }

    /// Takes one message from the server; an error spends the connection.
    pub(super) fn receive(&mut self) -> Result<(), NbdError> {
        self.usable()?;
        let outcome = self.receive_message();
        self.note(outcome)
    }

    fn usable(&self) -> Result<(), NbdError> {
        match self.state {
            State::Healthy => Ok(()),
            State::Spent => Err(NbdError::Closed),
        }
    }

    fn note<T>(&mut self, outcome: Result<T, NbdError>) -> Result<T, NbdError> {
        if outcome.is_err() {
            self.state = State::Spent;
        }
        outcome
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

impl Pending {
    pub(super) fn new(command: Command, offset: u64, length: u32) -> Self {
        Self {
            command,
            offset,
            length,
            place: None,
            arrived: Vec::new(),
            extents: None,
            failure: None,
            error_chunks: 0,
        }
    }
}

impl Drop for Connection {
    /// Says goodbye where that is possible; a server copes with a missing goodbye.
    fn drop(&mut self) {
        if self.state == State::Healthy {
            self.set_cancel(&Cancel::new(), Duration::ZERO);
            self.set_patience(Duration::from_secs(1));
            let goodbye = wire::request(Command::Disconnect, 0, 0, 0, 0);
            let socket = self.stream.get_mut();
            if let Err(error) = socket.write_all(&goodbye).and_then(|()| socket.flush()) {
                tracing::debug!(%error, "could not say goodbye to the NBD server");
            }
        }
    }
}

/// Cuts a range into pieces of at most `largest`.
fn pieces(range: Range<usize>, largest: usize) -> impl Iterator<Item = Range<usize>> {
    range
        .clone()
        .step_by(largest)
        .map(move |start| start..range.end.min(start + largest))
}
