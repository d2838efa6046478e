//! The operations that are handed to the ring: receive, send, fdatasync. Nothing else submits to it.
//!
//! Who owns the memory: an operation takes its buffer (and a share of the socket or file) by value and keeps both
//! until its completion arrives. If the future is dropped earlier, `tokio-uring` moves them into its table of
//! operations in flight and frees them at completion; so the kernel never sees freed memory or a reused descriptor.
//! A buffer's heap block does not move when its `Vec` does, and nobody can reach it while the operation holds it.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;

use io_uring::{cqueue, opcode, types};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

use super::buffer::Buffer;
use super::parcel::Parcel;
use super::socket::Socket;

/// What the kernel borrows until completion: the memory and the descriptor it works on.
pub(super) struct Loan<B> {
    memory: B,
    _descriptor: Descriptor,
}

enum Descriptor {
    Socket(#[allow(dead_code, reason = "held so that the descriptor stays open")] Rc<Socket>),
    File(#[allow(dead_code, reason = "held so that the descriptor stays open")] Arc<File>),
}

/// Turns a completion into its result and gives the memory back.
pub(super) struct GiveBack<B>(PhantomData<B>);

impl<B> OneshotOutputTransform for GiveBack<B> {
    type Output = (io::Result<usize>, B);
    type StoredData = Loan<B>;

    fn transform_oneshot_output(self, loan: Loan<B>, entry: cqueue::Entry) -> Self::Output {
        let result = match usize::try_from(entry.result()) {
            Ok(bytes) => Ok(bytes),
            Err(_) => Err(io::Error::from_raw_os_error(-entry.result())),
        };
        (result, loan.memory)
    }
}

/// An operation in flight. It may be kept and awaited later; dropping it is safe but loses what it brings.
pub(super) type Flight<B> = InFlightOneshot<Loan<B>, GiveBack<B>>;

fn submit<B: 'static>(memory: B, descriptor: Descriptor, entry: io_uring::squeue::Entry) -> Flight<B> {
    UnsubmittedOneshot::new(Loan { memory, _descriptor: descriptor }, GiveBack(PhantomData), entry).submit()
}

/// Receives into the whole of `buffer`; completes with the number of bytes, 0 at the end of the stream.
///
/// # Panics
/// Outside of a shard's runtime.
pub(super) fn receive(socket: &Rc<Socket>, mut buffer: Buffer) -> Flight<Buffer> {
    let bytes = buffer.as_mut_slice();
    let length = u32::try_from(bytes.len()).expect("a receive buffer is at most 64 KiB");
    let entry = opcode::Recv::new(types::Fd(socket.tcp().as_raw_fd()), bytes.as_mut_ptr(), length).build();
    submit(buffer, Descriptor::Socket(Rc::clone(socket)), entry)
}

/// Sends `range` of `parcel`; completes with the number of bytes that the kernel took, which may be fewer.
///
/// `Send` is told to wait until all are taken, and to send no SIGPIPE. `Writev` knows neither: whoever has bodies to send
/// goes on with the rest, and SIGPIPE is ignored in every Rust program.
///
/// # Panics
/// Outside of a shard's runtime, or when the range is not within the parcel.
pub(super) fn send(socket: &Rc<Socket>, mut parcel: Parcel, range: std::ops::Range<usize>) -> Flight<Parcel> {
    let fd = types::Fd(socket.tcp().as_raw_fd());
    let entry = if let Some(bytes) = parcel.as_slice() {
        let piece = &bytes[range];
        let length = u32::try_from(piece.len()).expect("a piece to send is at most 256 KiB");
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        opcode::Send::new(fd, piece.as_ptr(), length).flags(flags).build()
    } else {
        let vectors = parcel.vectors(range);
        let count = u32::try_from(vectors.len()).expect("there are at most 1,024 pieces");
        opcode::Writev::new(fd, vectors.as_ptr(), count).build()
    };
    submit(parcel, Descriptor::Socket(Rc::clone(socket)), entry)
}

/// Flushes the data of `file` to the disk.
///
/// # Panics
/// Outside of a shard's runtime.
pub(super) fn sync(file: Arc<File>) -> Flight<()> {
    let entry = opcode::Fsync::new(types::Fd(file.as_raw_fd())).flags(types::FsyncFlags::DATASYNC).build();
    submit((), Descriptor::File(file), entry)
}
