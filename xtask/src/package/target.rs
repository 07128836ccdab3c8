//! The systems and processors that packages are made for.

/// An operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// Linux with glibc 2.28 or newer.
    Linux,
    /// Windows 10 or newer.
    Windows,
    /// macOS 11 or newer.
    Mac,
}

/// One binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Linux on x86-64.
    LinuxX64,
    /// Linux on 64-bit Arm.
    LinuxArm64,
    /// Windows on x86-64.
    WindowsX64,
    /// Windows on 64-bit Arm.
    WindowsArm64,
    /// Macs with Intel processors.
    MacX64,
    /// Macs with Apple's own.
    MacArm64,
}

impl Target {
    /// All of them, in the order in which they are built.
    pub(crate) const ALL: [Self; 6] = [
        Self::LinuxX64,
        Self::LinuxArm64,
        Self::WindowsX64,
        Self::WindowsArm64,
        Self::MacArm64,
        Self::MacX64,
    ];

    /// The target of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }

    /// What people call it, in file names as well.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LinuxX64 => "linux-x86_64",
            Self::LinuxArm64 => "linux-aarch64",
            Self::WindowsX64 => "windows-x86_64",
            Self::WindowsArm64 => "windows-aarch64",
            Self::MacX64 => "macos-x86_64",
            Self::MacArm64 => "macos-aarch64",
        }
    }

    /// What rustc calls it.
    pub(crate) fn triple(self) -> &'static str {
        match self {
            Self::LinuxX64 => "x86_64-unknown-linux-gnu",
            Self::LinuxArm64 => "aarch64-unknown-linux-gnu",
            Self::WindowsX64 => "x86_64-pc-windows-gnu",
            Self::WindowsArm64 => "aarch64-pc-windows-gnullvm",
            Self::MacX64 => "x86_64-apple-darwin",
            Self::MacArm64 => "aarch64-apple-darwin",
        }
    }

    /// Its operating system.
    pub(crate) fn system(self) -> System {
        match self {
            Self::LinuxX64 | Self::LinuxArm64 => System::Linux,
            Self::WindowsX64 | Self::WindowsArm64 => System::Windows,
            Self::MacX64 | Self::MacArm64 => System::Mac,
        }
    }

    /// Whether it is a 64-bit Arm processor (else x86-64).
    pub(crate) fn is_arm(self) -> bool {
        matches!(self, Self::LinuxArm64 | Self::WindowsArm64 | Self::MacArm64)
    }

    /// The file name of its binary.
    pub(crate) fn binary(self) -> &'static str {
        match self.system() {
            System::Windows => "gatepass.exe",
            System::Linux | System::Mac => "gatepass",
        }
    }
}
