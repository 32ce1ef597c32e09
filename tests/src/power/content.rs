//! A file's bytes, by sectors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a disk writes whole or not at all.
pub const SECTOR: u64 = 512;

pub type Sector = [u8; SECTOR as usize];

/// A file's bytes. Sectors of zeros are left out, so that journals of 64 MiB cost nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    size: u64,
    sectors: BTreeMap<u64, Sector>,
}

impl Content {
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        let mut content = Self::default();
        let mut buffer = vec![0; 1024 * 1024];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok(content);
            }
            content.write(content.size, &buffer[..count]);
        }
    }

    /// Writes it to a new file.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        let file = File::create_new(path)?;
        for (number, sector) in &self.sectors {
            file.write_all_at(sector, number * SECTOR)?;
        }
        file.set_len(self.size)
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn sector(&self, number: u64) -> Sector {
        self.sectors.get(&number).copied().unwrap_or([0; SECTOR as usize])
    }

    pub fn put_sector(&mut self, number: u64, sector: Sector) {
        if sector == [0; SECTOR as usize] {
            self.sectors.remove(&number);
        } else {
            self.sectors.insert(number, sector);
        }
    }

    /// The sectors that are not zero, from this one on.
    pub fn sectors_from(&self, first: u64) -> impl Iterator<Item = u64> + '_ {
        self.sectors.range(first..).map(|(number, _)| *number)
    }

    pub fn write(&mut self, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        for number in touched(at, bytes) {
            let mut sector = self.sector(number);
            overlay(&mut sector, number, at, bytes);
            self.put_sector(number, sector);
        }
        self.size = self.size.max(end);
    }

    pub fn resize(&mut self, size: u64) {
        let cut: Vec<u64> = self.sectors_from(size / SECTOR).collect();
        for number in cut {
            let mut sector = self.sector(number);
            cut_off(&mut sector, number, size);
            self.put_sector(number, sector);
        }
        self.size = size;
    }

    #[cfg(test)]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            (0..self.size.div_ceil(SECTOR)).flat_map(|number| self.sector(number)).collect();
        bytes.truncate(self.size as usize);
        bytes
    }
}

/// The sectors that a write touches.
pub fn touched(at: u64, bytes: &[u8]) -> std::ops::Range<u64> {
    at / SECTOR..(at + bytes.len() as u64).div_ceil(SECTOR)
}

/// Puts into sector `number` its part of `bytes`, which begin at `at`.
pub fn overlay(sector: &mut Sector, number: u64, at: u64, bytes: &[u8]) {
    let begin = number * SECTOR;
    let from = at.max(begin);
    let to = (at + bytes.len() as u64).min(begin + SECTOR);
    sector[(from - begin) as usize..(to - begin) as usize]
        .copy_from_slice(&bytes[(from - at) as usize..(to - at) as usize]);
}

/// Makes zero what lies in sector `number` behind a file's end.
pub fn cut_off(sector: &mut Sector, number: u64, size: u64) {
    let inside = size.saturating_sub(number * SECTOR).min(SECTOR);
    sector[inside as usize..].fill(0);
}
