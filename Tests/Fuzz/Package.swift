// swift-tools-version: 6.1
import PackageDescription

// The fuzzers, for libFuzzer. `scripts/fuzz` builds this with `--sanitize fuzzer` and STARLING_FUZZ set,
// which makes the root package export its entries. A separate package, so that no ordinary build needs
// libFuzzer.
let package = Package(
    name: "fuzz",
    dependencies: [.package(name: "starling", path: "../..")],
    targets: [
        .executableTarget(
            name: "fuzz", dependencies: [.product(name: "FuzzEntries", package: "starling")],
            swiftSettings: [.unsafeFlags(["-parse-as-library"])])
    ],
    swiftLanguageModes: [.v6]
)
