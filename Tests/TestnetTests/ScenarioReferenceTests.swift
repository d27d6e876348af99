import Foundation
import Testing

@testable import Testnet

/// `testnet/README.md` describes every key, and its annotated file is valid.
@Suite struct ScenarioReferenceTests {
    private func text() throws -> String {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return try String(contentsOf: root.appendingPathComponent("testnet/README.md"), encoding: .utf8)
    }

    @Test func theAnnotatedFileIsAScenario() throws {
        let text = try text()
        let start = try #require(text.range(of: "```yaml\n"))
        let end = try #require(text.range(of: "\n```", range: start.upperBound..<text.endIndex))
        let yaml = String(text[start.upperBound..<end.lowerBound]) + "\n"
        let file = try ScenarioFile(parsing: yaml, path: "README.md", folder: "/t")
        #expect(file.load.count == 2 && file.expect.count == 3 && file.events.count == 3)
        // It contains every part of a scenario.
        for key in ScenarioFile.keys { #expect(yaml.contains("\n\(key):"), "\(key)") }
        for key in ScenarioFile.LoadShape.keys where key != "tail" {
            #expect(yaml.contains("\(key):"), "\(key)")
        }
    }

    @Test func everyKeyIsDescribed() throws {
        let text = try text()
        let names =
            TestnetFile.keys + ScenarioFile.keys + ScenarioFile.LoadShape.keys
            + ScenarioFile.Event.Action.allCases.map(\.rawValue)
            + ScenarioFile.Byzantine.Behaviour.allCases.map(\.rawValue)
            + TestnetFile.NAT.allCases.map(\.rawValue)
            + ScenarioFile.LoadShape.Arrivals.allCases.map(\.rawValue)
            + ScenarioFile.LoadShape.Lengths.allCases.map(\.rawValue)
        for name in names { #expect(text.contains("`\(name)`"), "\(name)") }
    }
}
