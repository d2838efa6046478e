//! The machine that is measured: processor, kernel, file system, and what its disk does.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use capacity::{Disk, Facts};

/// Commits that are timed.
const COMMITS: usize = 200;
/// Bytes of one.
const BLOCK_BYTES: usize = 4096;
/// What is written to see how much the disk takes a second, and in which pieces.
const WRITE_BYTES: usize = 128 << 20;
const PIECE_BYTES: usize = 4 << 20;

/// What the machine is; `dir` is on the disk that is measured.
///
/// # Errors
/// When the directory is not there.
pub(super) fn of(dir: &Path, rounds: u32) -> anyhow::Result<Facts> {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let dir = dir.canonicalize().with_context(|| format!("{} is not there", dir.display()))?;
    Ok(Facts {
        at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        optimised: !cfg!(debug_assertions),
        cpu: cpu(&read("/proc/cpuinfo")),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        filesystem: filesystem(&read("/proc/self/mounts"), &dir),
        load_before: read("/proc/loadavg")
            .split(' ')
            .next()
            .and_then(|load| load.parse().ok())
            .unwrap_or(0.0),
        rounds,
    })
}

/// The processor's name, and its family and model, since a virtual machine may hide the rest of the name; the architecture
/// where the kernel tells none.
fn cpu(cpuinfo: &str) -> String {
    let told = |name: &str| {
        let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        fields.find_map(|(field, value)| (field.trim() == name).then(|| value.trim()))
    };
    match (told("model name"), told("cpu family"), told("model")) {
        (Some(name), Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        (Some(name), ..) => name.to_owned(),
        _ => std::env::consts::ARCH.to_owned(),
    }
}

/// The kind of the mount that is nearest above; of two on one place the later hides the other.
fn filesystem(mounts: &str, dir: &Path) -> String {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        words.next().zip(words.next())
    });
    mounts
        .filter(|(place, _)| dir.starts_with(place))
        .max_by_key(|(place, _)| place.len())
        .map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

/// Times the disk under `dir`.
///
/// # Errors
/// When it cannot be written.
pub(super) fn disk(dir: &Path) -> anyhow::Result<Disk> {
    let probe = || -> std::io::Result<Disk> {
        let mut file = tempfile::tempfile_in(dir)?;
        let write_mb_per_s = written_mb_per_s(&mut file)?;
        let times_us = commits_us(&file)?;
        let (commit_p50_us, commit_p99_us) = (times_us[COMMITS / 2], times_us[COMMITS * 99 / 100]);
        Ok(Disk { commit_p50_us, commit_p99_us, write_mb_per_s })
    };
    probe().with_context(|| format!("the disk under {} cannot be measured", dir.display()))
}

fn written_mb_per_s(file: &mut File) -> std::io::Result<f64> {
    let piece = vec![0x55_u8; PIECE_BYTES];
    let begun = Instant::now();
    for _ in 0..WRITE_BYTES / PIECE_BYTES {
        file.write_all(&piece)?;
    }
    file.sync_data()?;
    Ok((WRITE_BYTES as f64 / 1e6 / begun.elapsed().as_secs_f64()).round().max(1.0))
}

/// Blocks that the file has already, each written and made durable: sorted times.
fn commits_us(file: &File) -> std::io::Result<Vec<f64>> {
    let block = [0xaa_u8; BLOCK_BYTES];
    let mut times_us = Vec::with_capacity(COMMITS);
    for number in 0..COMMITS {
        let begun = Instant::now();
        file.write_all_at(&block, (number * BLOCK_BYTES) as u64)?;
        file.sync_data()?;
        times_us.push((begun.elapsed().as_secs_f64() * 1e6).round());
    }
    times_us.sort_by(f64::total_cmp);
    Ok(times_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_is_the_one_that_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /var/spool xfs rw 0 0\n";
        for (dir, kind) in [("/srv", "ext4"), ("/tmp/x", "tmpfs"), ("/tmpx", "ext4"), ("/var/spool/s", "xfs")]
        {
            assert_eq!(filesystem(mounts, Path::new(dir)), kind, "{dir}");
        }
        assert_eq!(cpu("processor\t: 0\nmodel name\t: A B  C\n"), "A B  C");
        let told =
            "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\n";
        assert_eq!(cpu(told), "AMD EPYC (family 25, model 17)");
    }

    #[test]
    fn a_disk_is_timed() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = disk(dir.path()).expect("figures");
        assert!(disk.commit_p50_us <= disk.commit_p99_us && disk.write_mb_per_s > 0.0);
        assert!(of(dir.path(), 1).expect("facts").cores > 0);
    }
}
