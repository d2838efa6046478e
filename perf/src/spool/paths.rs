//! The experiment behind `docs/decisions/0001-write-path.md`: three ways for a group of records to the disk, and then
//! what each of them leaves for delivery to do, which reads every record once.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Result;
use clap::Args;
use rustix::fs::OFlags;
use serde_json::{Map as Json, Value, json};

use crate::clock::{Clock, Spent};
use crate::direct::{BLOCK, Buffer};
use crate::map::Map;
use crate::{Common, files, scene};

/// Bytes that one measurement writes, about; fewer when it would take too many groups.
const BUDGET_BYTES: usize = 128 << 20;
/// Groups of one measurement.
const GROUPS_MIN: usize = 8;
const GROUPS_MAX: usize = 200;

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Bytes of the records
    #[arg(long, value_delimiter = ',', default_values_t = [300, 10_240])]
    sizes: Vec<usize>,
    /// Records made durable together; groups of more than 6 MB are left out
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 64, 512, 4096])]
    groups: Vec<usize>,
}

/// Groups larger than this are never seen: the log writes its buffer out before.
const GROUP_BYTES_MAX: usize = 6_000_000;

/// How a group gets to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// pwrite into the page cache, fdatasync.
    Write,
    /// pwrite past the page cache, fdatasync.
    Direct,
    /// pwrite past the page cache, with O_DSYNC.
    DirectDsync,
    /// Copied into a shared map, msync.
    Map,
}

const WAYS: [(Way, &str); 4] = [
    (Way::Write, "write_fdatasync"),
    (Way::Direct, "direct_fdatasync"),
    (Way::DirectDsync, "direct_dsync"),
    (Way::Map, "map_msync"),
];

/// Prints, for each record size, group size and way, into new space and into space that was written before: microseconds
/// a group, of processor time a record, and of reading the records back.
pub(crate) fn run(options: &Options) -> Result<()> {
    let directory = files::directory(&options.common.data)?;
    for round in 0..options.common.rounds {
        let mut line = Json::from_iter([("round".to_owned(), json!(round))]);
        for &size in &options.sizes {
            let fitting = options.groups.iter().filter(|&&together| size * together <= GROUP_BYTES_MAX);
            for &together in fitting {
                for (way, name) in WAYS {
                    let name = format!("{size}_x{together}_{name}");
                    Trial { way, size, together }.run(directory.path(), &name, &mut line)?;
                    files::clear(directory.path())?;
                }
            }
        }
        println!("{}", Value::Object(line));
    }
    Ok(())
}

/// One way with one size of records and groups.
#[derive(Clone, Copy, Debug)]
struct Trial {
    way: Way,
    size: usize,
    together: usize,
}

/// What a trial took.
#[derive(Clone, Copy, Debug, Default)]
struct Took {
    writing: Spent,
    /// Reading each record once through the map, after each group.
    reading: Spent,
    /// The same from the buffer that the group was written from.
    kept: Spent,
}

impl Trial {
    fn run(self, directory: &Path, name: &str, line: &mut Json<String, Value>) -> Result<()> {
        let stride = (self.size * self.together).next_multiple_of(BLOCK);
        let groups = (BUDGET_BYTES / stride).clamp(GROUPS_MIN, GROUPS_MAX);
        let flags = match self.way {
            Way::Write | Way::Map => OFlags::empty(),
            Way::Direct => OFlags::DIRECT,
            Way::DirectDsync => OFlags::DIRECT | OFlags::DSYNC,
        };
        let path = directory.join("trial");
        let file = files::preallocated(&path, (stride * groups) as u64, flags)?;
        let fresh = self.pass(&file, &path, groups)?;
        files::evict_file(&path)?;
        let again = self.pass(&file, &path, groups)?;
        let mut put = |what: &str, seconds: f64, count: usize| {
            let micros = seconds * 1e6 / count as f64;
            line.insert(format!("{name}_{what}"), json!((micros * 100.0).round() / 100.0));
        };
        let records = groups * self.together;
        put("group_us", fresh.writing.wall, groups);
        put("cpu_us", fresh.writing.cpu, records);
        put("read_us", fresh.reading.wall, records);
        put("read_cpu_us", fresh.reading.cpu, records);
        put("kept_cpu_us", fresh.kept.cpu, records);
        put("recycled_group_us", again.writing.wall, groups);
        put("recycled_cpu_us", again.writing.cpu, records);
        Ok(())
    }

    /// Writes all groups, reading each back when it is durable: that is when its delivery begins.
    fn pass(self, file: &File, path: &Path, groups: usize) -> Result<Took> {
        let record = scene::noise(self.size);
        let stride = (self.size * self.together).next_multiple_of(BLOCK);
        let mut buffer = Buffer::new(stride);
        let mut map = Map::of(&std::fs::OpenOptions::new().read(true).write(true).open(path)?)?;
        let mut took = Took::default();
        let mut sum = 0_u32;
        for group in 0..groups {
            let offset = group * stride;
            let clock = Clock::start();
            if self.way == Way::Map {
                self.write_map(&mut map, &record, offset)?;
            } else {
                self.write_file(file, &mut buffer, &record, offset)?;
            }
            took.writing += clock.spent();
            let clock = Clock::start();
            for n in 0..self.together {
                sum ^= map.checksum(offset + n * self.size, self.size);
            }
            took.reading += clock.spent();
            let clock = Clock::start();
            sum ^= buffer.bytes().chunks(self.size).fold(0, |sum, record| sum ^ crc32c::crc32c(record));
            took.kept += clock.spent();
        }
        std::hint::black_box(sum);
        Ok(took)
    }

    fn write_file(self, file: &File, buffer: &mut Buffer, record: &[u8], offset: usize) -> Result<()> {
        buffer.clear();
        (0..self.together).for_each(|_| buffer.push(record));
        match self.way {
            Way::Write => file.write_all_at(buffer.bytes(), offset as u64)?,
            _ => file.write_all_at(buffer.blocks(), offset as u64)?,
        }
        if self.way != Way::DirectDsync {
            file.sync_data()?;
        }
        Ok(())
    }

    fn write_map(self, map: &mut Map, record: &[u8], offset: usize) -> Result<()> {
        for n in 0..self.together {
            map.write(offset + n * self.size, record);
        }
        Ok(map.sync(offset, self.size * self.together)?)
    }
}
