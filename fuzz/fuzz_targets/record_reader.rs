//! A segment is looked through as `staffetta spool cat` and `verify` do. The first byte says whether the rest is a
//! script that writes records with right checksums, or the file as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use staffetta_fuzz::input::Input;
use staffetta_fuzz::reading::inspect;
use staffetta_fuzz::script::Script;

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::NamedTempFile::new().expect("room");
    let mut input = Input::new(bytes);
    if input.u8() == 255 {
        std::fs::write(file.path(), &bytes[1..]).expect("room");
        inspect(file.path());
        return;
    }
    for written in Script::run(&mut input).segments {
        std::fs::write(file.path(), &written.bytes).expect("room");
        inspect(file.path());
    }
});
