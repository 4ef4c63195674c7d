//! Archives of models (`.tar`, `.tar.gz`), as ENCODE publishes them: one member of a given role.
//!
//! In: the archive's bytes, in order. Out: the bytes of the one `.h5` member whose name says the role,
//! such as `fold_0/model.bias_scaled.fold_0.ENCSR000EMT.h5`. Members of no use are skipped, not kept.
//! Read by hand, as a header is 512 bytes: ustar, with the long names of GNU and pax.
//!
//! Source: POSIX.1-2017, pax; GNU tar manual, "Basic Tar Format".

use std::io::{self, Read};

use super::Role;
use crate::error::Problem;

const BLOCK: usize = 512;

/// Longest name, and most bytes of a pax header; both are a few hundred in practice.
const MAX_NAME: u64 = 1 << 20;

/// Members that a message names.
const NAMED: usize = 20;

/// True when a file that starts with `start` (512 bytes) is a tar archive: its header's sum is right.
pub fn is_tar(start: &[u8]) -> bool {
    start.get(..BLOCK).is_some_and(|header| has_right_sum(header) && header[0] != 0)
}

/// The sum of a header's bytes stands in it, counted with spaces in its place.
fn has_right_sum(header: &[u8]) -> bool {
    let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
    let stored: u64 = header[148..156].iter().map(|&byte| u64::from(byte)).sum();
    number(&header[148..156]) == Some(sum - stored + 8 * u64::from(b' '))
}

/// Octal digits, or a binary number behind a first byte of 0x80 (GNU, for sizes from 8 GiB).
fn number(field: &[u8]) -> Option<u64> {
    if field[0] == 0x80 {
        return field[1..].iter().try_fold(0u64, |n, &b| n.checked_mul(256)?.checked_add(b.into()));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

/// Text up to the first zero.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// The role that a member's name says: the last part of the path that says one.
fn role_of(path: &str) -> Option<Role> {
    let of_part = |part: &str| {
        let part = part.to_ascii_lowercase();
        let without = ["nobias", "no_bias", "wo_bias", "without_bias"];
        if without.iter().any(|name| part.contains(name)) {
            Some(Role::WithoutBias)
        } else if part.contains("bias") {
            Some(Role::Bias)
        } else if part.contains("chrombpnet") {
            Some(Role::Full)
        } else {
            None
        }
    };
    path.rsplit('/').find_map(of_part)
}

/// Reads the one model of `role`: its name and its bytes, at most `limit`.
///
/// Errors: no role is asked for, no member or several of that role, a damaged archive. Without a role
/// the archive is refused; its members are named in any case.
pub fn read(
    archive: impl Read,
    role: Option<Role>,
    limit: u64,
) -> Result<(String, Vec<u8>), Problem> {
    let mut members = Members { archive, at: 0 };
    let mut names: Vec<String> = Vec::new();
    let mut found: Vec<String> = Vec::new();
    let mut image = Vec::new();
    while let Some((name, size)) = members.next()? {
        let is_wanted =
            name.to_ascii_lowercase().ends_with(".h5") && role.is_some() && role_of(&name) == role;
        if is_wanted && found.is_empty() {
            if size > limit {
                return Err(Problem::new(format!("{size} bytes, far more than any model")).at(name));
            }
            image = members.take(size)?;
        } else {
            members.skip(size)?;
        }
        if is_wanted {
            found.push(name.clone());
        }
        names.push(name);
    }
    const UNPACK: &str = "unpack the archive (tar -xf) and pass one of its .h5 files";
    let Some(role) = role else {
        return Err(Problem::new(format!(
            "the model is an archive, and nothing says which of its members is meant: {}",
            listed(&names)
        ))
        .fix(format!(
            "{UNPACK}; -b, -bm, -cm and -cmb take an archive and find their model by name"
        )));
    };
    match found.len() {
        1 => Ok((found.remove(0), image)),
        0 => Err(Problem::new(format!(
            "the archive has no .h5 file whose name says {}; it has {}",
            role.stem(),
            listed(&names)
        ))
        .fix(format!("{UNPACK}; models saved as folders (SavedModel) cannot be read"))),
        n => Err(Problem::new(format!(
            "the archive has {n} models whose names say {}, expected 1: {}",
            role.stem(),
            listed(&found)
        ))
        .fix(UNPACK)),
    }
}

fn listed(names: &[String]) -> String {
    match names.len() {
        0 => "nothing".to_string(),
        n if n > NAMED => format!("{}, and {} more", names[..NAMED].join(", "), n - NAMED),
        _ => names.join(", "),
    }
}

/// Members one after the other. After `next`, exactly one of `take` and `skip` moves on.
struct Members<R> {
    archive: R,
    /// Bytes read so far, for messages.
    at: u64,
}

impl<R: Read> Members<R> {
    /// Name and size of the next file; `None` at the end.
    fn next(&mut self) -> Result<Option<(String, u64)>, Problem> {
        let (mut long_name, mut long_size) = (None, None);
        loop {
            let mut header = [0u8; BLOCK];
            if !self.header(&mut header)? {
                return Ok(None);
            }
            let place = self.at;
            let damaged = || damaged("a header is damaged", place);
            if !has_right_sum(&header) {
                return Err(damaged());
            }
            let size = number(&header[124..136]).ok_or_else(damaged)?;
            let kind = header[156];
            match kind {
                b'L' | b'x' | b'K' | b'g' => {
                    if size > MAX_NAME {
                        return Err(damaged());
                    }
                    let body = self.take(size)?;
                    match kind {
                        b'L' => long_name = Some(text(&body)),
                        b'x' => {
                            let said = |key| pax_value(&body, key);
                            long_name = said("path").or(long_name);
                            if let Some(size) = said("size") {
                                long_size = Some(size.parse().map_err(|_| damaged())?);
                            }
                        }
                        _ => {}
                    }
                }
                // A regular file, in three spellings.
                b'0' | 0 | b'7' => {
                    let short = || match &header[257..262] {
                        b"ustar" if header[345] != 0 && header[263] == b'0' => {
                            format!("{}/{}", text(&header[345..500]), text(&header[..100]))
                        }
                        _ => text(&header[..100]),
                    };
                    let name = long_name.take().unwrap_or_else(short);
                    return Ok(Some((name, long_size.take().unwrap_or(size))));
                }
                // Folders, links and devices have no bytes, whatever their size field says.
                b'1'..=b'6' => (long_name, long_size) = (None, None),
                _ => {
                    self.skip(size)?;
                    (long_name, long_size) = (None, None);
                }
            }
        }
    }

    /// Reads one block; false at the end of the archive, which is a block of zeros or no block.
    fn header(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, Problem> {
        let mut got = 0;
        while got < BLOCK {
            match self.archive.read(&mut block[got..]) {
                Ok(0) if got == 0 => return Ok(false),
                Ok(0) => return Err(ends_early()),
                Ok(n) => got += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(&error)),
            }
        }
        self.at += BLOCK as u64;
        Ok(block.iter().any(|&byte| byte != 0))
    }

    /// The next `size` bytes, and what fills their last block. Memory grows with what there is.
    fn take(&mut self, size: u64) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        let read = self.archive.by_ref().take(size).read_to_end(&mut bytes);
        if read.map_err(|error| unreadable(&error))? as u64 != size {
            return Err(ends_early());
        }
        self.at += size;
        self.discard(padding(size))?;
        Ok(bytes)
    }

    fn skip(&mut self, size: u64) -> Result<(), Problem> {
        self.discard(size)?;
        self.discard(padding(size))
    }

    fn discard(&mut self, size: u64) -> Result<(), Problem> {
        let gone = io::copy(&mut self.archive.by_ref().take(size), &mut io::sink());
        if gone.map_err(|error| unreadable(&error))? != size {
            return Err(ends_early());
        }
        self.at += size;
        Ok(())
    }
}

/// Bytes between the end of `size` bytes and that of their last block.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// A value of a pax header, whose lines are `length key=value`.
fn pax_value(body: &[u8], key: &str) -> Option<String> {
    let mut rest = body;
    while let Some(space) = rest.iter().position(|&byte| byte == b' ') {
        let length: usize = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
        let line = rest.get(space + 1..length)?.strip_suffix(b"\n")?;
        if let Some(value) = line.strip_prefix(key.as_bytes()).and_then(|l| l.strip_prefix(b"=")) {
            return Some(String::from_utf8_lossy(value).into_owned());
        }
        rest = &rest[length..];
    }
    None
}

fn damaged(what: &str, at: u64) -> Problem {
    Problem::new(format!("the archive of models is damaged: {what}"))
        .at(format!("byte {}", at - BLOCK as u64))
        .fix("download the file again")
}

fn ends_early() -> Problem {
    Problem::new("the archive of models ends early (truncated)").fix("download the file again")
}

fn unreadable(error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ends_early(),
        _ => Problem::new(format!("cannot read the archive of models: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, kind: u8, size: usize) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u64 = header.iter().map(|&b| u64::from(b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }

    fn entry(name: &str, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut entry = header(name, kind, body.len());
        entry.extend(body);
        entry.resize(entry.len().next_multiple_of(BLOCK), 0);
        entry
    }

    fn model(name: &str) -> Vec<u8> {
        entry(name, b'0', name.as_bytes())
    }

    fn find(archive: &[u8], role: Role) -> Result<String, String> {
        let found = read(archive, Some(role), 1 << 20);
        let (name, bytes) = found.map_err(|problem| problem.to_string())?;
        assert_eq!(bytes, name.as_bytes());
        Ok(name)
    }

    #[test]
    fn roles_are_told_by_names() {
        for (name, role) in [
            ("fold_0/model.bias_scaled.fold_0.ENCSR1.h5", Some(Role::Bias)),
            ("./fold_0/model.chrombpnet.fold_0.ENCSR1.h5", Some(Role::Full)),
            ("./fold_0/model.chrombpnet_nobias.fold_0.ENCSR1.h5", Some(Role::WithoutBias)),
            ("bias_model_scaled.h5", Some(Role::Bias)),
            ("chrombpnet_wo_bias.h5", Some(Role::WithoutBias)),
            ("chrombpnet_nobias/model.h5", Some(Role::WithoutBias)),
            ("chrombpnet_nobias/bias.h5", Some(Role::Bias)),
            ("fold_0/model.h5", None),
        ] {
            assert_eq!(role_of(name), role, "{name}");
        }
    }

    #[test]
    fn the_member_of_a_role_is_found_among_others() {
        let names = [
            "./f/model.bias_scaled.f.ENCSR1.h5",
            "./f/model.chrombpnet.f.ENCSR1.h5",
            "./f/model.chrombpnet_nobias.f.ENCSR1.h5",
        ];
        let mut archive = entry("./f/", b'5', b"");
        archive.extend(entry("./f/model.chrombpnet.f.ENCSR1.tar", b'0', &[1; 700]));
        names.iter().for_each(|name| archive.extend(model(name)));
        for end in [0, BLOCK, 2 * BLOCK, 20 * BLOCK] {
            let whole = [archive.clone(), vec![0; end]].concat();
            assert!(is_tar(&whole));
            for (role, name) in [Role::Bias, Role::Full, Role::WithoutBias].into_iter().zip(names) {
                assert_eq!(find(&whole, role).as_deref(), Ok(name));
            }
        }
    }

    #[test]
    fn long_names_of_gnu_and_pax_are_read() {
        let name = format!("{}/chrombpnet_nobias.h5", "f".repeat(200));
        let gnu = [entry("././@LongLink", b'L', format!("{name}\0").as_bytes()), {
            entry(&name[..90], b'0', name.as_bytes())
        }]
        .concat();
        assert_eq!(find(&gnu, Role::WithoutBias).as_ref(), Ok(&name));
        let line = |text: String| format!("{} {text}\n", text.len() + 5);
        let pax = line(format!("path={name}"));
        assert_eq!(pax.len(), name.len() + 10);
        let pax =
            [entry("x", b'x', pax.as_bytes()), entry("short", b'0', name.as_bytes())].concat();
        assert_eq!(find(&pax, Role::WithoutBias).as_ref(), Ok(&name));
    }

    #[test]
    fn what_is_missing_ambiguous_or_unsaid_is_refused_with_the_names() {
        let two = [model("fold_0/bias.h5"), model("fold_1/bias.h5")].concat();
        let error = find(&two, Role::Bias).unwrap_err();
        assert!(error.contains("2 models") && error.contains("fold_1/bias.h5"), "{error}");
        let error = find(&two, Role::Full).unwrap_err();
        assert!(error.contains("no .h5 file whose name says chrombpnet;"), "{error}");
        assert!(error.contains("fold_0/bias.h5"), "{error}");
        let error = read(&two[..], None, 1 << 20).unwrap_err().to_string();
        assert!(error.contains("is meant: fold_0/bias.h5") && error.contains("-cmb"), "{error}");
        let error = read(&two[..], Some(Role::Bias), 3).unwrap_err().to_string();
        assert!(error.contains("far more than any model"), "{error}");
        let error = find(&[0; BLOCK], Role::Bias).unwrap_err();
        assert!(error.contains("it has nothing"), "{error}");
    }

    #[test]
    fn damage_and_early_ends_are_found() {
        let good = [model("bias.h5"), model("x")].concat();
        for end in (1..good.len()).filter(|end| end % (2 * BLOCK) != 0) {
            assert!(find(&good[..end], Role::Bias).is_err(), "cut to {end}");
        }
        for at in 0..BLOCK {
            let mut bad = good.clone();
            bad[2 * BLOCK + at] ^= 1;
            assert!(find(&bad, Role::Bias).is_err(), "byte {at}");
        }
        let endless = header("bias.h5", b'0', 0o77777777777);
        assert!(find(&endless, Role::Bias).is_err());
        for body in [&b"99 path=x\n"[..], b"3 a", b" =", b"18446744073709551616 path=x\n", b"1 x"] {
            assert_eq!(pax_value(body, "path"), None);
        }
    }
}
