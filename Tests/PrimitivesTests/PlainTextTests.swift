import Testing

@testable import Primitives

@Suite struct PlainTextTests {
    @Test func aModelNameIsSpeltLikeACanonicalOne() {
        for name in [
            "m", "7", "wren-m", "llama-3.1-8b-instruct", "a..b", "a.-b", String(repeating: "x", count: 64),
        ] {
            #expect(name.isModelName, "\(name)")
        }
        let others = [
            "", "-", ".", "-m", "m-", ".m", "m.", "wren--m", "Wren", "wren_m", "wren m", "a/b", "m:latest",
            "wrén",
            "m\n", "\u{1b}[2Jm", "m\u{301}", String(repeating: "x", count: 65),
        ]
        for name in others { #expect(!name.isModelName, "\(name.debugDescription)") }
    }

    @Test func controlCharactersAreFoundAndReplaced() {
        let controls = [
            "\0", "\t", "\n", "\r\n", "\u{1b}", "\u{7f}", "\u{80}", "\u{85}", "\u{9b}", "\u{9f}", "\u{61c}",
            "\u{200e}", "\u{200f}", "\u{2028}", "\u{2029}", "\u{202a}", "\u{202e}", "\u{2066}", "\u{2069}",
        ]
        for control in controls {
            let text = "a" + control + "b"
            #expect(!text.isPlain, "\(text.debugDescription)")
            #expect(text.madePlain.isPlain)
            #expect(text.madePlain.hasPrefix("a ") && text.madePlain.hasSuffix(" b"))
        }
        for text in ["", "Grüße 🦩, ben", "👩‍🔬", "工作站", "a\u{a0}b", "e\u{301}", "~"] {
            #expect(text.isPlain && text.madePlain == text, "\(text)")
        }
    }
}
