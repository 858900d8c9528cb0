//! What the fuzz targets share: a server that says what it is told to, whatever the client says, and a client that does all it can.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use migrate_engine::block::{
    BlockRead, BlockWrite, BufferPool, Cancel, NbdExport, NbdOptions, NbdUri, ReadRequest, extent,
};
use parking_lot::Mutex;

/// A server on a Unix socket: each connection is told the same, then the end.
struct Babbler {
    socket: PathBuf,
    says: Arc<Mutex<Vec<u8>>>,
}

fn babbler() -> &'static Babbler {
    static BABBLER: OnceLock<Babbler> = OnceLock::new();
    BABBLER.get_or_init(|| {
        let socket = std::env::temp_dir().join(format!("volumed-fuzz-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).expect("a socket to listen on");
        let says = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&says);
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let bytes = told.lock().clone();
                // The client may leave before the end, and never has to be understood.
                let _ = stream.write_all(&bytes);
                let _ = stream.shutdown(Shutdown::Write);
            }
        });
        Babbler { socket, says }
    })
}

/// Has a client talk with a server that says exactly this. Whatever comes, the client must not panic, hang, or take memory
/// without bounds, and what it believes must fit together.
pub fn converse(bytes: &[u8]) {
    let babbler = babbler();
    *babbler.says.lock() = bytes.to_vec();
    let uri: NbdUri = format!("nbd+unix:///disk?socket={}", babbler.socket.display())
        .parse()
        .expect("a good address");
    let timeout = Duration::from_millis(500);
    let options = NbdOptions {
        connections: 1,
        connect_timeout: timeout,
        silence_timeout: timeout,
        flush_timeout: timeout,
        reconnect_for: Duration::ZERO,
        ..NbdOptions::default()
    };
    let Ok(export) = NbdExport::connect(uri, options) else {
        return;
    };
    read(&export);
    write(&export);
}

const PIECE: usize = 64 << 10;

fn read(export: &NbdExport) {
    let size = export.size();
    let Ok(mut worker) = BlockRead::open_worker(export, &Cancel::new()) else {
        return;
    };
    let range = 0..size.min(4 << 30);
    if let Ok(extents) = worker.extents(range.clone()) {
        assert_eq!(extent::check_coverage(&extents, &range), Ok(()));
    }
    let pool = BufferPool::new(3, PIECE, 4096);
    let mut asked = 0;
    for n in 0..3_u64 {
        let buffer = pool.take().expect("as many buffers as reads");
        let request = ReadRequest {
            offset: n * PIECE as u64,
            buffer,
            wanted: vec![0..512, 4096..PIECE],
        };
        match worker.submit(request) {
            Ok(()) => asked += 1,
            Err(_) => break,
        }
    }
    for _ in 0..asked {
        match worker.complete() {
            Ok(request) => assert_eq!(request.offset % PIECE as u64, 0),
            Err(_) => break,
        }
    }
}

fn write(export: &NbdExport) {
    if export.size() < PIECE as u64 {
        return;
    }
    let Ok(mut worker) = BlockWrite::open_worker(export, &Cancel::new()) else {
        return;
    };
    let pool = BufferPool::new(1, 4096, 4096);
    let data = pool.take().expect("one buffer").share(0..4096);
    let _ = worker.write(4096, data);
    let _ = worker.write_zeroes(0..PIECE as u64);
    let _ = worker.flush();
}
