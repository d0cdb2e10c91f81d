// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the kernel's words go: the domain's console ring, which `xenconsoled` reads, or Xen's own console.

use core::fmt::{self, Write};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use spin::mutex::SpinMutex;

use crate::domain::{self, ConsoleRing};
use crate::hypercall;

/// `struct xencons_interface` of Xen's `public/io/console.h`.
#[repr(C)]
struct Ring {
    input: [AtomicU8; 1024],
    output: [AtomicU8; 2048],
    input_consumer: AtomicU32,
    input_producer: AtomicU32,
    output_consumer: AtomicU32,
    output_producer: AtomicU32,
}

/// How often to let others run before taking the daemon for dead.
const PATIENCE: u32 = 2_000_000;

static CONSOLE: SpinMutex<Console> = SpinMutex::new(Console {
    length: 0,
    line: [0; 256],
});

/// The port to notify, if it is no longer that of the start.
static NEW_PORT: AtomicU32 = AtomicU32::new(0);

/// Finds the daemon again after the domain was restored.
pub fn reconnect() {
    if let Some(port) = domain::get().console_port() {
        NEW_PORT.store(port, Ordering::Relaxed);
    }
}

fn notify(place: ConsoleRing) {
    let new = NEW_PORT.load(Ordering::Relaxed);
    hypercall::notify(if new == 0 { place.port } else { new });
}

/// Collects a line, so that others' output can't land inside it.
struct Console {
    length: usize,
    line: [u8; 256],
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.line[self.length] = byte;
            self.length += 1;
            if byte == b'\n' || self.length == self.line.len() {
                self.flush();
            }
        }
        Ok(())
    }
}

impl Console {
    fn flush(&mut self) {
        let text = &self.line[..self.length];
        match domain::get().console {
            Some(ring) => write_ring(ring, text),
            None => {
                hypercall::console_write(text);
            }
        }
        self.length = 0;
    }
}

fn write_ring(place: ConsoleRing, text: &[u8]) {
    // SAFETY: the builder made that page the ring; it is shared, so all of it is atomic.
    let ring = unsafe { &*(place.address as *const Ring) };
    for byte in text {
        let producer = ring.output_producer.load(Ordering::Relaxed);
        wait_until(place, || {
            producer.wrapping_sub(ring.output_consumer.load(Ordering::Acquire)) < 2048
        });
        ring.output[producer as usize % 2048].store(*byte, Ordering::Relaxed);
        ring.output_producer
            .store(producer.wrapping_add(1), Ordering::Release);
    }
    notify(place);
}

fn wait_until(place: ConsoleRing, done: impl Fn() -> bool) {
    for turn in 0..PATIENCE {
        if done() {
            return;
        }
        if turn % 1024 == 0 {
            notify(place);
        }
        hypercall::yield_now();
    }
}

/// Prints to the console; [`say!`] is the macro for it.
pub fn print(arguments: fmt::Arguments) {
    // Writing to the console can't fail.
    let _ = CONSOLE.lock().write_fmt(arguments);
}

/// Prints although another vCPU may have died while it was printing.
pub fn print_at_last(arguments: fmt::Arguments) {
    for _ in 0..1_000_000 {
        if let Some(mut console) = CONSOLE.try_lock() {
            let _ = console.write_fmt(arguments);
            return;
        }
        spin_loop();
    }
    let mut console = Console {
        length: 0,
        line: [0; 256],
    };
    let _ = console.write_fmt(arguments);
    console.flush();
}

/// Waits until the daemon has read everything, within reason.
pub fn drain() {
    if let Some(place) = domain::get().console {
        // SAFETY: as in `write_ring`.
        let ring = unsafe { &*(place.address as *const Ring) };
        wait_until(place, || {
            ring.output_consumer.load(Ordering::Acquire)
                == ring.output_producer.load(Ordering::Relaxed)
        });
    }
}

/// Prints a line.
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::console::print(format_args!("{}\n", format_args!($($argument)*)))
    };
}
pub(crate) use say;
