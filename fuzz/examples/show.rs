//! Prints the records that an input of a target stands for: `cargo run --example show FILE`.

use std::path::Path;

use spool::inspect::Inspection;
use staffetta_fuzz::input::Input;
use staffetta_fuzz::script::Script;

fn main() {
    let path = std::env::args_os().nth(1).expect("a file");
    let bytes = std::fs::read(Path::new(&path)).expect("a file");
    let mut input = Input::new(&bytes);
    println!("first byte {}", input.u8());
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    for written in Script::run(&mut input).segments {
        std::fs::write(file.path(), &written.bytes).expect("a temporary file");
        let inspection = Inspection::open(file.path()).expect("a file that is there");
        println!("segment {} of {} bytes: {:?}", written.sequence, written.bytes.len(), inspection.state());
        for entry in inspection.entries() {
            println!("  {} at {}: {:?}", entry.id, entry.id.position(), entry.what);
        }
    }
}
