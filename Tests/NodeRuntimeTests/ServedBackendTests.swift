import Market
import NodeConfiguration
import Testing

@testable import NodeRuntime

@Suite struct ServedBackendTests {
    @Test(arguments: [("slots: 4", 256), ("slots: 100", 1_024), ("slots: 4, queue: 3", 3), ("queue: 0", 0)])
    func aNumberOfTasksASlotMayWaitUnlessTheOwnerSaysHowMany(entry: String, places: Int) throws {
        let yaml = "serve: [{backend: llama.cpp, model: wren-m, \(entry)}]\n"
        let settings = try NodeSettings(parsing: yaml, source: .init(file: "node.yaml"), home: "/home/ann")
        let backend = ServedBackend(
            settings: try #require(settings.serve.first), id: 1, memory: Node.Memory())
        #expect(backend.places == places)
    }
}
