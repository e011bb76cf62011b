//! `kijiti bench delta`: models trained on this machine and what follows them, as deltas, beside
//! what one would use instead.
//!
//! Every delta is applied and compared bit for bit before its size is shown. Tools that are not
//! installed are left out, with the words to install them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use distribution::delta::layout::{Storage, layout};
use distribution::delta::{EncodeOptions, apply, encode};
use inference::RulePack;
use inference::model::adapter::Adapter;
use protocol::Digest;
use serde_json::json;
use teach::pairs::{PairOptions, Stored, Weights, make, read_gguf, sticky, write_gguf};

use app::Failure;

/// What the bench knows of one pair of files.
struct Row {
    follower: String,
    stored: Stored,
    whole: usize,
    sizes: BTreeMap<&'static str, usize>,
    entropy: [f64; 2],
    encode_s: f64,
    decode_s: f64,
    decode_kib: u64,
}

const TOOLS: [&str; 8] = [
    "kijiti",
    "zstd -19",
    "zstd patch",
    "xdelta3",
    "bsdiff",
    "HDiffPatch",
    "64 KiB CDC",
    "bao groups",
];

/// Makes the models, or takes those in `keep`, and measures.
pub fn run(
    hidden: usize,
    steps: usize,
    seed: u64,
    keep: Option<&Path>,
    as_json: bool,
) -> Result<(), Failure> {
    if !hidden.is_multiple_of(256) || hidden == 0 || hidden > 8192 {
        return Err(Failure::new(
            format!("{hidden} is no width"),
            "a multiple of 256, up to 8192",
        )
        .with_code(2));
    }
    let temporary = std::env::temp_dir().join(format!("kijiti-bench-delta-{}", std::process::id()));
    let folder = keep.unwrap_or(&temporary);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let result = measure(hidden, steps, seed, folder, as_json);
    let _ = std::fs::remove_dir_all(&temporary);
    result
}

fn failed(e: impl ToString) -> Failure {
    Failure::new(e.to_string(), "check memory and free space")
}

fn file_name(follower: &str, stored: Stored) -> String {
    let plain: String = follower
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    format!("{plain}.{}.gguf", stored.name())
}

fn measure(
    hidden: usize,
    steps: usize,
    seed: u64,
    folder: &Path,
    as_json: bool,
) -> Result<(), Failure> {
    let list = folder.join("pairs.txt");
    if !list.is_file() {
        make_files(hidden, steps, seed, folder, &list)?;
    }
    let names = std::fs::read_to_string(&list).map_err(failed)?;
    let mut rows = Vec::new();
    for stored in Stored::ALL {
        let base = std::fs::read(folder.join(file_name("base", stored))).map_err(failed)?;
        for follower in names
            .lines()
            .filter(|l| !l.starts_with('#') && !l.is_empty())
        {
            let path = folder.join(file_name(follower, stored));
            let Ok(target) = std::fs::read(&path) else {
                continue;
            };
            rows.push(one(
                follower,
                stored,
                &base,
                &target,
                &folder.join(file_name("base", stored)),
                &path,
            )?);
            if let (false, Some(row)) = (as_json, rows.last()) {
                show(row, rows.len() == 1);
            }
        }
    }
    if as_json {
        let all: Vec<_> = rows.iter().map(row_json).collect();
        println!(
            "{:#}",
            json!({ "schema": "kijiti.bench-delta/1", "rows": all })
        );
        return Ok(());
    }
    for line in names.lines().filter_map(|l| l.strip_prefix("# ")) {
        println!("{line}");
    }
    summary(&rows);
    Ok(())
}

/// An adapter beside the deltas of models that do the same.
pub fn adapter(adapter: &Path, base: &Path, models: &[std::path::PathBuf]) -> Result<(), Failure> {
    let read = |path: &Path| {
        let shown = path.display().to_string();
        std::fs::read(path)
            .map_err(|e| Failure::new(format!("{shown}: {e}"), "name files of models"))
    };
    let (own, old) = (read(adapter)?, read(base)?);
    let beside = Adapter::load(&own).map_err(|e| Failure::new(e, "name the adapter first"))?;
    if beside.base() != Digest::of(&old).to_string() {
        return Err(Failure::new(
            "the adapter was made for another base",
            "name its base behind it",
        ));
    }
    let own = own.len();
    let mut smallest = None;
    for (at, path) in models.iter().enumerate() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let row = one(&name, Stored::Q4, &old, &read(path)?, base, path)?;
        show(&row, at == 0);
        smallest = row.sizes.values().copied().chain(smallest).min();
    }
    let smallest = smallest.unwrap_or(usize::MAX);
    println!(
        "\nthe adapter: {own} bytes, {:.3} of the smallest of these deltas",
        own as f64 / smallest as f64
    );
    Ok(())
}

fn make_files(
    hidden: usize,
    steps: usize,
    seed: u64,
    folder: &Path,
    list: &Path,
) -> Result<(), Failure> {
    let pack = RulePack::built_in().map_err(failed)?;
    let began = Instant::now();
    let say = |what: &str| eprintln!("{:>5.0} s  {what}", began.elapsed().as_secs_f64());
    let pairs = make(
        &pack,
        PairOptions {
            hidden,
            steps,
            seed,
        },
        say,
    )
    .map_err(failed)?;
    let put = |name: &str, stored: Stored, file: Vec<u8>| {
        std::fs::write(folder.join(file_name(name, stored)), file).map_err(failed)
    };
    let mut names = String::new();
    for stored in Stored::ALL {
        let base = write_gguf(&pairs.base, stored, 1).map_err(failed)?;
        for follower in &pairs.followers {
            put(
                follower.name,
                stored,
                write_gguf(&follower.weights, stored, 2).map_err(failed)?,
            )?;
            // The publisher's option: quantized against the old file, so that what may stay stays.
            if stored != Stored::F16 && is_fine_tune(follower.name) {
                let file =
                    sticky(&base, &pairs.base, &follower.weights, stored, 2).map_err(failed)?;
                let cost = sticky_cost(&pairs, &follower.weights, &file, stored)?;
                names.push_str(&format!(
                    "# sticky {}, {}: {cost}\n",
                    follower.name,
                    stored.name()
                ));
                put(&format!("{} sticky", follower.name), stored, file)?;
            }
        }
        put("base", stored, base)?;
    }
    for follower in &pairs.followers {
        names.push_str(&format!("{}\n", follower.name));
        if is_fine_tune(follower.name) {
            names.push_str(&format!("{} sticky\n", follower.name));
        }
        names.push_str(&format!(
            "# {} moved the weights by {:.2} %\n",
            follower.name,
            follower.moved * 100.0
        ));
    }
    std::fs::write(list, names).map_err(failed)
}

/// Whether a follower is the base with all its tensors as they were, taught a little more.
fn is_fine_tune(follower: &str) -> bool {
    !["retrained", "vocabulary grown"].contains(&follower)
}

/// What sticky quantization costs, as a share of what the fine-tune gained.
fn sticky_cost(
    pairs: &teach::pairs::Pairs,
    new: &Weights,
    file: &[u8],
    stored: Stored,
) -> Result<String, Failure> {
    let judge = |weights: &Weights| pairs.judge(weights).map_err(failed);
    let plain = read_gguf(&write_gguf(new, stored, 2).map_err(failed)?).map_err(failed)?;
    let base = read_gguf(&write_gguf(&pairs.base, stored, 1).map_err(failed)?).map_err(failed)?;
    let (before, after, stuck) = (
        judge(&base)?,
        judge(&plain)?,
        judge(&read_gguf(file).map_err(failed)?)?,
    );
    let lost = (stuck - after) * 100.0 / (before - after).max(f64::MIN_POSITIVE);
    Ok(format!(
        "loss {before:.4} before, {after:.4} after, {stuck:.4} sticky: {lost:.2} % of the gain"
    ))
}

fn one(
    follower: &str,
    stored: Stored,
    base: &[u8],
    target: &[u8],
    base_path: &Path,
    target_path: &Path,
) -> Result<Row, Failure> {
    let began = cpu_s();
    let delta = encode(base, target, EncodeOptions::default()).map_err(failed)?;
    let encode_s = cpu_s() - began;
    let wanted = (Digest::of(target), target.len() as u64);
    let (began, resident) = (cpu_s(), resident_kib());
    let mut most = resident;
    let mut times = 0;
    // The kernel counts in ticks: often enough that they do not matter.
    while times == 0 || cpu_s() - began < DECODED_S {
        let mut keep = |_: &[u8]| {
            if times == 0 {
                most = most.max(resident_kib());
            }
            Ok(())
        };
        apply(
            delta.as_slice(),
            (Digest::of(base), base),
            wanted,
            &mut keep,
        )
        .map_err(failed)?;
        times += 1;
    }
    let decode_s = (cpu_s() - began) / f64::from(times);
    let mut sizes = BTreeMap::from([("kijiti", delta.len())]);
    sizes.insert("zstd -19", zstd_size(target, &[]).map_err(failed)?);
    sizes.insert("zstd patch", zstd_size(target, base).map_err(failed)?);
    sizes.insert("64 KiB CDC", chunks_size(base, target));
    sizes.insert("bao groups", groups_size(base, target));
    for (name, size) in external(base_path, target_path) {
        sizes.insert(name, size);
    }
    Ok(Row {
        follower: follower.to_owned(),
        stored,
        whole: target.len(),
        sizes,
        entropy: entropy(base, target),
        encode_s,
        decode_s,
        decode_kib: most.saturating_sub(resident),
    })
}

/// Seconds of processor time for which a delta is applied again and again.
const DECODED_S: f64 = 0.2;

/// Seconds of processor time of this thread, on which everything is done.
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace()
        .next()
        .and_then(|ns| ns.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1e9
}

fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

fn zstd_size(target: &[u8], prefix: &[u8]) -> std::io::Result<usize> {
    use std::io::Write;
    let mut encoder = zstd::stream::write::Encoder::with_ref_prefix(Vec::new(), 19, prefix)?;
    if !prefix.is_empty() {
        encoder.window_log(27)?;
        encoder.long_distance_matching(true)?;
    }
    encoder.write_all(target)?;
    Ok(encoder.finish()?.len())
}

/// Content-defined chunks of about 64 KiB by a gear hash: bytes of chunks that the base does not
/// have.
fn chunks_size(base: &[u8], target: &[u8]) -> usize {
    let gear = |byte: u8| {
        u64::from(byte)
            .wrapping_add(1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(23)
    };
    let cut = |file: &[u8]| -> Vec<(Digest, usize)> {
        let (mut chunks, mut start, mut hash) = (Vec::new(), 0, 0u64);
        for (at, byte) in file.iter().enumerate() {
            hash = (hash << 1).wrapping_add(gear(*byte));
            let long = at + 1 - start;
            if (long >= 16 << 10 && hash >> 48 == 0) || long >= 256 << 10 || at + 1 == file.len() {
                let chunk = file.get(start..=at).unwrap_or_default();
                chunks.push((Digest::of(chunk), chunk.len()));
                (start, hash) = (at + 1, 0);
            }
        }
        chunks
    };
    missing(&cut(base), &cut(target))
}

fn groups_size(base: &[u8], target: &[u8]) -> usize {
    let cut = |file: &[u8]| {
        file.chunks(16 << 10)
            .map(|g| (Digest::of(g), g.len()))
            .collect::<Vec<_>>()
    };
    missing(&cut(base), &cut(target))
}

fn missing(base: &[(Digest, usize)], target: &[(Digest, usize)]) -> usize {
    let held: BTreeSet<_> = base.iter().map(|(digest, _)| *digest).collect();
    let fresh = target.iter().filter(|(digest, _)| !held.contains(digest));
    fresh.map(|(_, bytes)| bytes).sum::<usize>() + target.len() * 32
}

/// Tools of the machine, where they are installed.
fn external(base: &Path, target: &Path) -> Vec<(&'static str, usize)> {
    let out = target.with_extension("out");
    let (b, t, o) = (base.display(), target.display(), out.display());
    let python = "import hdiffpatch,sys;a,b=(open(p,'rb').read() for p in sys.argv[1:3]);\
                  open(sys.argv[3],'wb').write(hdiffpatch.diff(a,b,hdiffpatch.COMPRESSION_LZMA2))";
    let commands = [
        (
            "xdelta3",
            format!("xdelta3 -e -9 -S lzma -f -s '{b}' '{t}' '{o}'"),
        ),
        ("bsdiff", format!("bsdiff '{b}' '{t}' '{o}'")),
        (
            "HDiffPatch",
            format!("python3 -c \"{python}\" '{b}' '{t}' '{o}'"),
        ),
    ];
    let run = |(name, command): &(&'static str, String)| {
        let done = Command::new("sh")
            .args(["-c", &format!("{command} >/dev/null 2>&1")])
            .status()
            .ok()?
            .success();
        let size = std::fs::metadata(&out).ok().map(|m| m.len() as usize);
        let _ = std::fs::remove_file(&out);
        size.filter(|_| done).map(|size| (*name, size))
    };
    commands.iter().filter_map(run).collect()
}

/// Order-0 entropy of differences, in bytes: what remains if each number's change is coded on its
/// own. Of codes alone, and of all that the blocks hold, scales too.
fn entropy(base: &[u8], target: &[u8]) -> [f64; 2] {
    let old: BTreeMap<_, _> = layout(base)
        .into_iter()
        .map(|s| (s.name.clone(), s))
        .collect();
    let mut counts: [BTreeMap<i32, u64>; 3] = Default::default();
    for new in layout(target) {
        let Some(old) = old
            .get(&new.name)
            .filter(|o| o.storage == new.storage && o.bytes == new.bytes)
        else {
            continue;
        };
        let at = |file: &[u8], offset: u64| {
            file.get(offset as usize..(offset + new.bytes) as usize)
                .map(<[u8]>::to_vec)
        };
        let (Some(was), Some(is)) = (at(base, old.offset), at(target, new.offset)) else {
            continue;
        };
        let block = new.storage.block().1;
        for (was, is) in was.chunks(block).zip(is.chunks(block)) {
            for ((kind, was), (_, is)) in numbers(new.storage, was)
                .into_iter()
                .zip(numbers(new.storage, is))
            {
                *counts
                    .get_mut(kind)
                    .map_or(&mut 0, |c| c.entry(is.wrapping_sub(was)).or_default()) += 1;
            }
        }
    }
    let bytes = |counts: &BTreeMap<i32, u64>| {
        let all: u64 = counts.values().sum();
        counts
            .values()
            .map(|n| *n as f64 * (all as f64 / *n as f64).log2())
            .sum::<f64>()
            / 8.0
    };
    [bytes(&counts[0]), counts.iter().map(bytes).sum()]
}

/// What a block holds: codes (0), 16-bit scales (1), 6-bit scales and minima (2).
fn numbers(storage: Storage, block: &[u8]) -> Vec<(usize, i32)> {
    let half = |at: usize| {
        let bits = i32::from(block.get(at).copied().unwrap_or(0))
            | i32::from(block.get(at + 1).copied().unwrap_or(0)) << 8;
        (
            1,
            if bits & 0x8000 == 0 {
                bits
            } else {
                0x8000 - bits
            },
        )
    };
    let codes = |from: usize| {
        block
            .iter()
            .skip(from)
            .flat_map(|b| [(0, i32::from(b & 15)), (0, i32::from(b >> 4))])
    };
    match storage {
        Storage::Q4_0 => std::iter::once(half(0)).chain(codes(2)).collect(),
        Storage::Q4K => {
            let at = |i: usize| i32::from(block.get(4 + i).copied().unwrap_or(0));
            let small = (0..8).flat_map(|part| match part {
                0..4 => [(2, at(part) & 63), (2, at(part + 4) & 63)],
                _ => [
                    (2, at(part + 4) & 15 | at(part - 4) >> 6 << 4),
                    (2, at(part + 4) >> 4 | at(part) >> 6 << 4),
                ],
            });
            [half(0), half(2)]
                .into_iter()
                .chain(small)
                .chain(codes(16))
                .collect()
        }
        Storage::Q8_0 => std::iter::once(half(0))
            .chain(block.iter().skip(2).map(|b| (0, i32::from(*b as i8))))
            .collect(),
        Storage::F16 | Storage::BF16 | Storage::F32 | Storage::Q6K => {
            vec![(
                0,
                block.iter().rev().fold(0i32, |n, b| n << 8 | i32::from(*b)),
            )]
        }
    }
}

fn show(row: &Row, first: bool) {
    if first {
        println!("bytes of what must travel; bit for bit the same comes out of ours\n");
        print!("{:<5} {:<24} {:>9}", "", "", "whole");
        TOOLS.iter().for_each(|t| print!(" {t:>10}"));
        println!(
            " {:>10} {:>10} {:>6} {:>6} {:>7} {:>6}",
            "entropy", "and scales", "enc s", "dec s", "MB/s", "MiB"
        );
    }
    print!(
        "{:<5} {:<24} {:>9}",
        row.stored.name(),
        row.follower,
        row.whole
    );
    for tool in TOOLS {
        match row.sizes.get(tool) {
            Some(size) => print!(" {size:>10}"),
            None => print!(" {:>10}", "–"),
        }
    }
    let speed = row.whole as f64 / 1e6 / row.decode_s.max(1e-9);
    let [codes, all] = row.entropy;
    println!(
        " {codes:>10.0} {all:>10.0} {:>6.2} {:>6.3} {speed:>7.1} {:>6.1}",
        row.encode_s,
        row.decode_s,
        row.decode_kib as f64 / 1024.0
    );
}

fn row_json(row: &Row) -> serde_json::Value {
    json!({
        "stored": row.stored.name(), "follower": row.follower, "whole": row.whole, "sizes": row.sizes,
        "entropy": row.entropy[0], "entropy_with_scales": row.entropy[1], "encode_cpu_s": row.encode_s, "decode_cpu_s": row.decode_s, "decode_kib": row.decode_kib,
    })
}

/// Ratios, the least favourable of each kind.
fn summary(rows: &[Row]) {
    let ours = |row: &Row| row.sizes.get("kijiti").copied().unwrap_or(1).max(1) as f64;
    println!();
    for stored in Stored::ALL {
        let of = |follower: &str| {
            rows.iter()
                .find(|r| r.stored == stored && r.follower == follower)
        };
        let plain = rows
            .iter()
            .filter(|r| r.stored == stored && is_fine_tune(&r.follower));
        let plain: Vec<_> = plain.filter(|r| !r.follower.ends_with(" sticky")).collect();
        for tool in ["zstd patch", "HDiffPatch"] {
            let least = |ours_of: &dyn Fn(&Row) -> Option<f64>| {
                let ratios = plain
                    .iter()
                    .filter_map(|r| Some(*r.sizes.get(tool)? as f64 / ours_of(r)?));
                ratios.reduce(f64::min)
            };
            let sticky = least(&|row| of(&format!("{} sticky", row.follower)).map(ours));
            let sticky =
                sticky.map(|ratio| format!("; quantized against the base, at least {ratio:.2} ×"));
            if let Some(ratio) = least(&|row| Some(ours(row))) {
                let sticky = sticky.unwrap_or_default();
                println!(
                    "{:<5} fine-tunes: at least {ratio:.2} × smaller than {tool}{sticky}",
                    stored.name()
                );
            }
        }
    }
    for (tool, how) in [
        ("xdelta3", "apt install xdelta3"),
        ("bsdiff", "apt install bsdiff"),
        ("HDiffPatch", "pip install hdiffpatch"),
    ] {
        if rows.iter().all(|r| !r.sizes.contains_key(tool)) {
            println!("{tool} is not installed: {how}");
        }
    }
}
