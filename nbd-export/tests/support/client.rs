//! A blocking NBD client: one connection, reads, writes, flushes; it never reconnects.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use nbd_export::{NbdAddress, NbdEndpoint};
use rustix::net::{AddressFamily, SocketType};

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

pub struct Client(Box<dyn Stream>);

impl Client {
    pub fn connect(endpoint: &NbdEndpoint) -> io::Result<Self> {
        let limit = Some(Duration::from_secs(10));
        let stream: Box<dyn Stream> = match &endpoint.address {
            NbdAddress::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(limit)?;
                Box::new(stream)
            }
            NbdAddress::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(limit)?;
                Box::new(stream)
            }
        };
        Self::negotiate(stream, endpoint)
    }

    /// Connects over TCP from one of the machine's addresses.
    pub fn connect_from(endpoint: &NbdEndpoint, own: SocketAddr) -> io::Result<Self> {
        let NbdAddress::Tcp(address) = endpoint.address else {
            panic!("a Unix socket has no addresses")
        };
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        rustix::net::bind(&socket, &own)?;
        rustix::net::connect(&socket, &address)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Self::negotiate(Box::new(stream), endpoint)
    }

    fn negotiate(mut stream: Box<dyn Stream>, endpoint: &NbdEndpoint) -> io::Result<Self> {
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting)?;
        stream.write_all(&3_u32.to_be_bytes())?;
        let name = endpoint.name.as_str().as_bytes();
        let length = u32::try_from(name.len()).unwrap();
        let go = [
            &b"IHAVEOPT"[..],
            &7_u32.to_be_bytes(),
            &(length + 6).to_be_bytes(),
            &length.to_be_bytes(),
            name,
            &[0, 0],
        ];
        stream.write_all(&go.concat())?;
        loop {
            let mut head = [0; 20];
            stream.read_exact(&mut head)?;
            let word = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
            let mut payload = vec![0; usize::try_from(word(16)).unwrap()];
            stream.read_exact(&mut payload)?;
            match word(12) {
                1 => return Ok(Self(stream)),
                3 => {}
                code => return Err(io::Error::other(format!("refused: {code:#x}"))),
            }
        }
    }

    fn request(&mut self, command: u16, offset: u64, length: usize, payload: &[u8]) -> io::Result<()> {
        let head = [
            &0x2560_9513_u32.to_be_bytes()[..],
            &[0, 0],
            &command.to_be_bytes(),
            &7_u64.to_be_bytes(),
            &offset.to_be_bytes(),
            &u32::try_from(length).unwrap().to_be_bytes(),
        ];
        self.0.write_all(&[&head.concat(), payload].concat())?;
        let mut reply = [0; 16];
        self.0.read_exact(&mut reply)?;
        assert_eq!(reply[..4], 0x6744_6698_u32.to_be_bytes(), "not a simple reply");
        match u32::from_be_bytes(reply[4..8].try_into().unwrap()) {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(i32::try_from(code).unwrap())),
        }
    }

    pub fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.request(0, offset, length, &[])?;
        let mut data = vec![0; length];
        self.0.read_exact(&mut data)?;
        Ok(data)
    }

    pub fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.request(1, offset, data.len(), data)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.request(3, 0, 0, &[])
    }
}

/// A client that reads over one connection until told to stop, and says how many reads it did.
pub struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<u64>>,
}

impl Reader {
    pub fn start(endpoint: &NbdEndpoint, fill: u8) -> Self {
        let mut client = Client::connect(endpoint).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut reads = 0;
            while !stopped.load(Ordering::Relaxed) {
                let data = client.read((reads % 1024) * 4096, 4096)?;
                assert!(
                    data.iter().all(|&byte| byte == fill),
                    "read other bytes than the device's"
                );
                reads += 1;
            }
            Ok(reads)
        });
        Self { stop, thread }
    }

    /// Reads done; an error if the one connection was ever lost.
    pub fn finish(self) -> io::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
