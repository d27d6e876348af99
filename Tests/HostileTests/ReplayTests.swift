import Foundation
import FuzzEntries
import TestSupport
import Testing

/// Every input that a fuzzer kept, or that once broke something, goes through the same entries again.
@Suite struct ReplayTests {
    private static let corpus = projectFolder.appendingPathComponent("Tests/Fuzz/corpus")

    private static func inputs(_ target: FuzzTarget) -> [URL] {
        let folder = corpus.appendingPathComponent(target.rawValue)
        let files = try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        return (files ?? []).sorted { $0.lastPathComponent < $1.lastPathComponent }
    }

    /// `scripts/fuzz TARGET --replay` says which input is not.
    @Test(arguments: FuzzTarget.allCases)
    func theCorpusOfEachFuzzTargetIsHarmless(_ target: FuzzTarget) throws {
        let inputs = Self.inputs(target)
        try #require(!inputs.isEmpty, "Tests/Fuzz/corpus/\(target.rawValue) is empty")
        for input in inputs { target.run(Array(try Data(contentsOf: input))) }
    }

    @Test func theCorporaAreSmall300KilobytesInAll() throws {
        var bytes = 0
        for target in FuzzTarget.allCases {
            for input in Self.inputs(target) { bytes += try Data(contentsOf: input).count }
        }
        #expect(bytes < 300_000)
    }

    @Test func theCorpusOfWholeNodesReachesWorkForOthersDeliveredTasksAndAdmittedContacts() throws {
        var reached: Set<String> = []
        for input in Self.inputs(.peer) where input.lastPathComponent.hasPrefix("path-") {
            reached.formUnion(effectsReached(Array(try Data(contentsOf: input))))
        }
        print("the peer's corpus reaches: \(reached.sorted().joined(separator: ", "))")
        #expect(reached.isSuperset(of: ["start job", "awarded", "delta", "finished", "receipt", "admitted"]))
    }

    /// For examining one input: a debug build names the broken rule, unlike a fuzzer's release build.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["STARLING_FUZZ_INPUT"] != nil))
    func oneInput() throws {
        let environment = ProcessInfo.processInfo.environment
        let path = try #require(environment["STARLING_FUZZ_INPUT"])
        let target = try #require(FuzzTarget(rawValue: environment["FUZZ_TARGET"] ?? ""))
        target.run(Array(try Data(contentsOf: URL(fileURLWithPath: path))))
    }
}
