//! Read ends of the small golden and yeast files, by readers so plain that they can be trusted.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use cbp_fast::input::lines;
use cbp_fast::input::reads::{ReadEnd, Strand};
use cbp_fast::store::GenomePack;

/// Read ends of a BAM, fragments or tagAlign file, in file order; contigs that the genome lacks are
/// left out.
pub fn read_ends(path: &Path, genome: &GenomePack) -> Vec<ReadEnd> {
    let name = path.file_name().unwrap().to_str().unwrap();
    match name {
        _ if name.ends_with(".bam") => bam(path, genome),
        _ if name.contains("fragments") => text(path, genome, None),
        _ => text(path, genome, Some(5)),
    }
}

/// Without a strand column, a line is a fragment and gives both its ends.
fn text(path: &Path, genome: &GenomePack, strand_column: Option<usize>) -> Vec<ReadEnd> {
    let mut ends = Vec::new();
    lines::for_each(path, |_, line| {
        let fields: Vec<&str> = line.split('\t').collect();
        if line.starts_with('#') {
            return Ok(());
        }
        let Some(contig) = genome.contig_id(fields[0]) else { return Ok(()) };
        let (start, end): (i64, i64) = (fields[1].parse()?, fields[2].parse()?);
        let strand = strand_column.map(|column| fields[column]);
        if strand != Some("-") {
            ends.push(ReadEnd { contig, position: start, strand: Strand::Plus });
        }
        if strand != Some("+") {
            ends.push(ReadEnd { contig, position: end - 1, strand: Strand::Minus });
        }
        Ok(())
    })
    .unwrap();
    ends
}

/// Every mapped alignment; fields as in the SAM specification, section 4.2.
fn bam(path: &Path, genome: &GenomePack) -> Vec<ReadEnd> {
    let mut file = noodles_bgzf::io::Reader::new(File::open(path).unwrap());
    let mut take = |n: usize| -> Option<Vec<u8>> {
        let mut bytes = vec![0; n];
        match file.read_exact(&mut bytes) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => None,
            result => result.map(|()| bytes).ok(),
        }
    };
    let int = |bytes: &[u8]| i32::from_le_bytes(bytes[..4].try_into().unwrap());
    let size = |bytes: Vec<u8>| int(&bytes) as usize;
    assert_eq!(take(4).unwrap(), b"BAM\x01");
    let header = size(take(4).unwrap());
    take(header).unwrap();
    let references = size(take(4).unwrap());
    let mut contigs = Vec::new();
    for _ in 0..references {
        let length = size(take(4).unwrap());
        let name = take(length).unwrap();
        take(4).unwrap();
        contigs.push(genome.contig_id(std::str::from_utf8(&name[..length - 1]).unwrap()));
    }
    let mut ends = Vec::new();
    while let Some(length) = take(4) {
        let record = take(size(length)).unwrap();
        let (reference, start) = (int(&record), i64::from(int(&record[4..])));
        let name = usize::from(record[8]);
        let operations = usize::from(u16::from_le_bytes([record[12], record[13]]));
        let flags = u16::from_le_bytes([record[14], record[15]]);
        if flags & 4 != 0 {
            continue;
        }
        let Some(contig) = contigs[reference as usize] else { continue };
        let cigar = record[32 + name..][..4 * operations].chunks_exact(4);
        let on_reference =
            cigar.map(|op| int(op) as u32).filter(|op| matches!(op & 15, 0 | 2 | 3 | 7 | 8));
        let length: i64 = on_reference.map(|op| i64::from(op >> 4)).sum();
        ends.push(match flags & 16 {
            0 => ReadEnd { contig, position: start, strand: Strand::Plus },
            _ => ReadEnd { contig, position: start + length - 1, strand: Strand::Minus },
        });
    }
    ends
}
