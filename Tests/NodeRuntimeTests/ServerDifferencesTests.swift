import Inference
import NodeConfiguration
import NodeRuntime
import Testing

/// What the log of a node and `starling check` tell its owner.
@Suite struct ServerDifferencesTests {
    private func differences(_ entry: String, _ found: ModelDescription) throws -> [String] {
        let settings = try NodeSettings(
            parsing: "serve: [{\(entry)}]\n", source: .init(file: "node.yaml"), home: "/home/ann")
        return settings.serve[0].differences(from: found)
    }

    @Test(
        arguments: [
            ("backend: llama.cpp, model: wren-m, slots: 2", []),
            ("backend: llama.cpp, model: /models/Wren-M-Q8_0.gguf, slots: 2, context: 512", []),
            (
                "backend: llama.cpp, model: wren-m, slots: 4",
                ["`slots` is 4, and the server answers 2 at a time"]
            ),
            ("backend: llama.cpp, model: wren-m", ["`slots` is 1, and the server answers 2 at a time"]),
            (
                "backend: llama.cpp, model: qwen3-8b, slots: 2, context: 4096",
                [
                    "`model` is qwen3-8b, and the server has wren-m.gguf",
                    "`context` is 4096, and the server has 512",
                ]
            ),
            // Such a server is asked by name.
            ("backend: openai, model: other, slots: 2, url: http://127.0.0.1:1", []),
        ] as [(String, [String])])
    func whatTheConfigurationSaysOtherwiseIsToldWithTheFix(_ entry: String, _ begins: [String]) throws {
        let found = ModelDescription(name: "wren-m.gguf", context: 512, slots: 2)
        let told = try differences(entry, found)
        #expect(told.count == begins.count)
        for (told, words) in zip(told, begins) { #expect(told.hasPrefix(words), "\(told)") }
    }

    @Test func whatAServerDoesNotSayDiffersFromNothing() throws {
        let entry = "backend: llama.cpp, model: wren-m, slots: 9, context: 9000"
        #expect(try differences(entry, ModelDescription(name: "wren-m")).isEmpty)
        let unloaded = ModelDescription(name: "wren-m", context: 512, isContextAssumed: true)
        #expect(try differences(entry, unloaded).isEmpty)
    }
}
