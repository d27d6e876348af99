// swift-tools-version: 6.1
import PackageDescription

// STARLING_CORE_ONLY declares only the pure targets, the simulator and their tests, so that the inner loop
// (`scripts/test --core`) never builds the HTTP server or the database. STARLING_LOOP_ONLY declares the event
// loop, the model servers' drivers, their dependencies and their tests: what `scripts/sanitize` builds.
let loopOnly = Context.environment["STARLING_LOOP_ONLY"] != nil
let coreOnly = loopOnly || Context.environment["STARLING_CORE_ONLY"] != nil
// CI treats warnings as errors; a dependency's warnings are not ours, so only our targets ask for it.
let strict: [SwiftSetting] =
    Context.environment["STARLING_WERROR"] != nil ? [.unsafeFlags(["-warnings-as-errors"])] : []

// What no datagram, token or simulated event passes through isn't optimised: that takes a third of the compiler's time.
let cold: [SwiftSetting] = strict + [.unsafeFlags(["-Onone"], .when(configuration: .release))]

func target(_ name: String, _ dependencies: [Target.Dependency], _ settings: [SwiftSetting] = strict)
    -> Target
{
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(
    _ name: String, _ dependencies: [Target.Dependency], exclude: [String] = [], resources: [Resource] = []
) -> Target {
    .testTarget(
        name: name, dependencies: dependencies, exclude: exclude, resources: resources, swiftSettings: strict)
}

func product(_ name: String, _ package: String) -> Target.Dependency {
    .product(name: name, package: package)
}

let collections = [
    product("OrderedCollections", "swift-collections"), product("HeapModule", "swift-collections"),
    product("DequeModule", "swift-collections"),
]

// Also listed where `PeerCore` would bring them in: a target that uses their types without listing them is not
// rebuilt when a stored property is added, and reads the old layout.
let machines: [Target.Dependency] = ["Wire", "Sessions", "Discovery", "Gossip", "Market"]

let core: [Target] = [
    .systemLibrary(name: "CSodium", pkgConfig: "libsodium", providers: [.apt(["libsodium-dev"])]),
    target("Primitives", collections),
    target("Cryptography", ["Primitives", "CSodium"]),
    target("Wire", ["Primitives", "Cryptography"]),
    target("Sessions", ["Wire"] + collections),
    target("Discovery", ["Wire"] + collections),
    target("Gossip", ["Wire"] + collections),
    target("Market", ["Wire", "OpenAIFormat"] + collections),
    target("Credit", ["Wire"]),
    target("PeerCore", machines),
    target("Simulation", ["PeerCore", "Credit"] + machines + collections),
    target("OpenAIFormat", ["Primitives"]),
    // What fuzzers and hostile tests do to the core; Tests/Fuzz builds it for libFuzzer.
    .target(
        name: "FuzzEntries", dependencies: machines + ["PeerCore", "OpenAIFormat"], path: "Tests/FuzzEntries",
        swiftSettings: strict),

    // References, fixtures and virtual time for the tests.
    .target(
        name: "TestSupport", dependencies: ["Wire", product("HeapModule", "swift-collections")],
        path: "Tests/Support", swiftSettings: strict),

    tests("PrimitivesTests", ["Primitives", "TestSupport"]),
    tests("CryptographyTests", ["Cryptography", "TestSupport"]),
    tests("WireTests", ["Wire", "TestSupport"]),
    tests("SessionsTests", ["Sessions", "Wire", "TestSupport"]),
    tests("DiscoveryTests", ["Discovery", "Wire", "TestSupport"]),
    tests("GossipTests", ["Gossip", "Wire", "TestSupport"]),
    tests("MarketTests", ["Market", "OpenAIFormat", "Wire", "TestSupport"]),
    tests("CreditTests", ["Credit", "Wire"]),
    tests("PeerCoreTests", ["PeerCore", "TestSupport"] + machines),
    tests("SimulationTests", ["Simulation", "PeerCore", "Credit", "TestSupport"] + machines),
    tests("OpenAIFormatTests", ["OpenAIFormat", "Primitives"]),
    tests("HostileTests", ["FuzzEntries", "TestSupport"]),
]

let loop: [Target] = [
    .systemLibrary(name: "CLibuv", pkgConfig: "libuv", providers: [.apt(["libuv1-dev"])]),
    target("UVLoop", ["Primitives", "CLibuv", product("DequeModule", "swift-collections")]),
    .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
    target("Inference", ["Primitives", "Cryptography", "OpenAIFormat", "UVLoop", "CLibuv", "CCurl"]),

    tests("UVLoopTests", ["UVLoop"]),
    tests("InferenceTests", ["Inference", "TestSupport"]),
]

let shell: [Target] = [
    target("MeshDocuments", ["Primitives"], cold),
    target("MeshClient", ["Primitives", "CCurl"], cold),
    .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
    target("Store", ["Market", "Wire", "CSQLite"]),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
    target("NodeConfiguration", ["Primitives", "CYAML"], cold),
    target(
        "NodeRuntime",
        machines + [
            "PeerCore", "Credit", "UVLoop", "Inference", "OpenAIFormat", "Store", "MeshDocuments",
            "NodeConfiguration",
            product("Logging", "swift-log"), product("OrderedCollections", "swift-collections"),
        ]),
    target(
        "Gateway",
        [
            "NodeRuntime", "Market", "Wire", "Primitives", "MeshDocuments", "OpenAIFormat", "UVLoop",
            product("Logging", "swift-log"), product("NIOCore", "swift-nio"),
            product("NIOPosix", "swift-nio"), product("NIOHTTP1", "swift-nio"),
        ]),
    target("Testnet", ["Cryptography", "NodeConfiguration", "MeshClient", "MeshDocuments"], cold),
    .executableTarget(
        name: "starling",
        dependencies: [
            "NodeRuntime", "Gateway", "Testnet", "NodeConfiguration", "Simulation", "MeshClient",
            "MeshDocuments", "Inference", "OpenAIFormat",
            product("ArgumentParser", "swift-argument-parser"), product("Logging", "swift-log"),
        ], swiftSettings: cold),

    .executableTarget(
        name: "starling-bench",
        dependencies: machines + [
            "PeerCore", "Simulation", "FuzzEntries", "UVLoop", "CLibuv", "CSodium",
            product("ArgumentParser", "swift-argument-parser"),
        ], path: "Sources/Benchmarks", swiftSettings: strict),

    tests("MeshDocumentsTests", ["MeshDocuments"]),
    tests("StoreTests", ["Store", "CSQLite", "Cryptography", "Market", "Wire"]),
    tests("NodeConfigurationTests", ["NodeConfiguration"]),
    tests(
        "NodeRuntimeTests",
        [
            "NodeRuntime", "NodeConfiguration", "Store", "PeerCore", "Market", "Wire", "Cryptography",
            "Primitives", "Inference",
            product("Logging", "swift-log"),
        ]),
    tests(
        "GatewayTests",
        [
            "Gateway", "NodeRuntime", "NodeConfiguration", "Market", "Wire", "Cryptography", "Primitives",
            "MeshDocuments", "OpenAIFormat",
        ],
        exclude: ["openai_client.py"]),
    tests("TestnetTests", ["Testnet", "NodeConfiguration", "TestSupport"]),
    tests(
        "ProcessTests", ["starling", "MeshClient"],
        exclude: ["lying_node.py", "openai_client.py", "scripted_backend.py"]),
]

let package = Package(
    name: "starling",
    products: Context.environment["STARLING_FUZZ"] != nil
        ? [.library(name: "FuzzEntries", targets: ["FuzzEntries"])]
        : coreOnly
            ? []
            : [
                .executable(name: "starling", targets: ["starling"]),
                .executable(name: "starling-bench", targets: ["starling-bench"]),
            ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0")
    ]
        + (coreOnly
            ? []
            : [
                .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
                .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
                .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
            ]),
    targets: loopOnly
        ? core.filter {
            [
                "CSodium", "Primitives", "Cryptography", "Wire", "OpenAIFormat", "TestSupport",
                "OpenAIFormatTests",
            ].contains($0.name)
        } + loop
        : coreOnly ? core : core + loop + shell,
    swiftLanguageModes: [.v6]
)
