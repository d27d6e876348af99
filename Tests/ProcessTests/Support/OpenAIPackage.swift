import Foundation
import Testing

/// The real `openai` package in a Python process: see openai_client.py.
struct OpenAIPackage {
    struct Call {
        var action: String
        var node: TestMesh.Node
        /// The call's keyword arguments, as JSON.
        var arguments = "{}"
    }

    let process: Spawned
    private let count: Int

    /// Starts these calls, one after another.
    init(_ calls: [Call], in folder: String) throws {
        let list = calls.map {
            #"{"do": "\#($0.action)", "base": "\#($0.node.http)/v1", "args": \#($0.arguments)}"#
        }
        let file = "\(folder)/calls-\(UInt32.random(in: 0...UInt32.max)).json"
        try "[\(list.joined(separator: ",\n"))]".write(toFile: file, atomically: true, encoding: .utf8)
        process = try Spawned(Project.python, [Project.script("openai_client.py"), file], folder: folder)
        count = calls.count
    }

    /// One stream.
    static func stream(_ arguments: String, at node: TestMesh.Node, in folder: String) throws -> OpenAIPackage
    {
        try OpenAIPackage([Call(action: "stream", node: node, arguments: arguments)], in: folder)
    }

    /// The outcome of each call.
    func outcomes(within seconds: Double = 60) async throws -> [JSON] {
        let finished = try await process.finished(within: seconds)
        let outcomes = process.lines.filter { $0["event"].text == "done" }
        try #require(outcomes.count == count, "the package fell over: \(finished.err)")
        return outcomes
    }

    func outcome(within seconds: Double = 60) async throws -> JSON { try await outcomes(within: seconds)[0] }

    /// The pieces of text that have arrived so far.
    var chunks: [JSON] { process.lines.filter { $0["event"].text == "chunk" } }

    /// The node id of the worker that began the stream.
    func worker() async throws -> String {
        try await eventually("the stream begins") {
            process.lines.first { $0["event"].text == "begun" }?["headers"]["starling-worker"].text
        }
    }

    func waitForChunks(_ count: Int, within seconds: Double = 20) async throws {
        try await until("\(count) chunks arrive", within: seconds) {
            chunks.count >= count || process.status != nil
        }
        try #require(chunks.count >= count, "the stream ended early: \(process.out) \(process.err)")
    }
}
