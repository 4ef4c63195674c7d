//! The kernels that build.rs put into this binary.

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// True when the kernels of this file are compiled for compute capability 9.0 alone.
pub fn is_for_hopper(file: &str) -> bool {
    file.starts_with("hopper_")
}

/// What the compiler said of one kernel on one GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    pub kernel: String,
    /// `sm_80`
    pub target: String,
    pub registers: u32,
    /// bytes a thread; must be 0
    pub stack: u32,
    /// bytes a thread, stores and loads; must be 0
    pub spilled: u32,
}

/// Every kernel and target in `report`, the text of `ptxas -v`.
pub fn resources(report: &str) -> Vec<Resources> {
    let mut found: Vec<Resources> = Vec::new();
    let number_before = |line: &str, what: &str| -> Option<u32> {
        line.split_once(what)?.0.split([' ', ',']).rfind(|t| !t.is_empty())?.parse().ok()
    };
    for line in report.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let mut names = rest.split('\'');
            let kernel = names.next().unwrap_or_default().to_string();
            let target = names.nth(1).unwrap_or_default().to_string();
            found.push(Resources { kernel, target, registers: 0, stack: 0, spilled: 0 });
        } else if let Some(last) = found.last_mut() {
            if let Some(stack) = number_before(line, " bytes stack frame") {
                last.stack = stack;
                let spills = [" bytes spill stores", " bytes spill loads"];
                last.spilled = spills.iter().filter_map(|s| number_before(line, s)).sum();
            } else if let Some(registers) = number_before(line, " registers") {
                last.registers = registers;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_ptxas() {
        let report = "ptxas info    : 0 bytes gmem\n\
            ptxas info    : Compiling entry function 'adam' for 'sm_120'\n\
            ptxas info    : Function properties for adam\n    \
            16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads\n\
            ptxas info    : Used 38 registers, used 0 barriers, 368 bytes cmem[0]\n";
        let found = resources(report);
        let expected = Resources {
            kernel: "adam".into(),
            target: "sm_120".into(),
            registers: 38,
            stack: 16,
            spilled: 12,
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn what_is_in_this_binary_neither_spills_nor_uses_a_stack() {
        for (file, report) in REPORTS {
            let found = resources(report);
            assert!(!found.is_empty(), "{file}: no kernel in the report");
            for r in found {
                assert_eq!((r.stack, r.spilled), (0, 0), "{r:?}");
                assert!(r.registers > 0, "{r:?}");
            }
        }
        assert_eq!(FATBINS.is_empty(), RELEASE.is_none() || REPORTS.is_empty());
    }
}
