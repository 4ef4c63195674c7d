use anyhow::Result;
use bytemuck::{Pod, Zeroable};
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Address(u64);
impl Address {
    pub fn new(a: u64) -> Self {
        Self(a)
    }
    pub fn get(self) -> u64 {
        self.0
    }
    pub fn offset(self, b: usize) -> Self {
        Self(self.0 + b as u64)
    }
}
#[derive(Clone, Debug)]
pub struct Launch {
    pub kernel: &'static str,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    pub args: Vec<u8>,
    pub label: String,
}
pub struct LaunchList {
    l: Vec<Launch>,
    h: Option<u64>,
}
impl LaunchList {
    pub fn new(l: Vec<Launch>, h: Option<u64>) -> Self {
        Self { l, h }
    }
    pub fn launches(&self) -> &[Launch] {
        &self.l
    }
    pub fn handle(&self) -> Option<u64> {
        self.h
    }
}
pub trait Device {
    fn alloc(&mut self, bytes: usize, label: &str) -> Result<Address>;
    fn upload(&mut self, to: Address, bytes: &[u8]) -> Result<()>;
    fn download(&mut self, from: Address, out: &mut [u8]) -> Result<()>;
    fn zero(&mut self, at: Address, bytes: usize) -> Result<()>;
    fn launch(&mut self, launch: &Launch) -> Result<()>;
    fn prepare(&mut self, list: Vec<Launch>) -> Result<LaunchList>;
    fn run(&mut self, list: &LaunchList) -> Result<()>;
    fn sync(&mut self) -> Result<()>;
    fn describe(&self) -> String;
}
