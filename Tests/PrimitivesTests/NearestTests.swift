import Primitives
import Testing

@Suite struct NearestNames {
    @Test func editsAreCountedWithSwaps() {
        #expect(Nearest.distance("", "abc") == 3)
        #expect(Nearest.distance("kitten", "sitting") == 3)
        #expect(Nearest.distance("prot", "port") == 1)
        #expect(Nearest.distance("Listen", "listen") == 0)
    }

    @Test func namesThatAreNearOrBeginAlikeAreOffered() {
        let models = ["wren-l", "wren-m", "wren-s", "qwen3-8b"]
        #expect(Nearest.matches("wren", in: models) == ["wren-l", "wren-m", "wren-s"])
        #expect(Nearest.match("qwen-8b", in: models) == "qwen3-8b")
        #expect(Nearest.match("gpt-4", in: models) == nil)
        #expect(Nearest.list(["a", "b", "c"]) == "a, b or c")
    }
}
