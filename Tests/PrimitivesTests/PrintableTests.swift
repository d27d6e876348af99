import Primitives
import Testing

@Suite struct PrintableTests {
    @Test func aLabelIsOneLineWithoutControlOrDirectionCharacters() {
        #expect(Printable.line("a\nb\r\n\tc") == "a\\nb\\r\\n\\tc")
        #expect(Printable.line("\u{1b}[31m\u{9b}2J\u{7f}\u{0}") == "\\u{1b}[31m\\u{9b}2J\\u{7f}\\u{0}")
        #expect(
            Printable.line("\u{202e}live\u{2066}\u{200f}\u{61c}") == "\\u{202e}live\\u{2066}\\u{200f}\\u{61c}"
        )
        #expect(
            Printable.line("a\u{2028}b\u{2029}c\u{85}\u{feff}\u{200b}")
                == "a\\u{2028}b\\u{2029}c\\u{85}\\u{feff}\\u{200b}")
        #expect(Printable.line("Zoë — 星 🐦") == "Zoë — 星 🐦")
    }

    @Test func aQuotedLabelCannotEndItsQuotes() {
        #expect(Printable.quoted("eve") == "\"eve\"")
        #expect(Printable.quoted("\"s0\" 1234567890123") == "\"\\u{22}s0\\u{22} 1234567890123\"")
        #expect(Printable.quoted("a\"\u{301}b") == "\"a\\u{22}\u{301}b\"")
        #expect(Printable.quoted("a\\\"\nb") == "\"a\\\\u{22}\\nb\"")
    }

    @Test func aLetterHasFourMarksAtMost() {
        let four = "a" + String(repeating: "\u{301}", count: 4)
        #expect(Printable.line(four + "b" + four) == four + "b" + four)
        #expect(Printable.line(four + "\u{301}\u{20dd}b") == four + "\\u{301}\\u{20dd}b")
        #expect(Printable.lines(four + "\u{301}") == four + "\u{301}", "an answer stays as it is")
        let twice = Printable.line(four + "\u{301}\u{301}")
        #expect(Printable.line(twice) == twice)
    }

    @Test func anAnswerKeepsItsLinesTabsAndScripts() {
        #expect(Printable.lines("a\n\tb\r\nc") == "a\n\tb\nc")
        #expect(
            Printable.lines("\u{1b}]52;c;eA==\u{7}x\rY\u{8}\u{9b}K")
                == "\\u{1b}]52;c;eA==\\u{7}x\\rY\\u{8}\\u{9b}K")
        let family = "👨\u{200d}👩\u{200d}👧 \u{200f}שלום"
        #expect(Printable.lines(family) == family)
    }

    @Test func jsonForATerminalMeansTheSame() {
        #expect(
            Printable.json("{\n\"a\": \"\u{9b}\u{202e}\u{e0001}é\"}")
                == "{\n\"a\": \"\\u009b\\u202e\\udb40\\udc01é\"}")
    }

    @Test func noControlCharacterSurvivesAndASecondPassChangesNothing() {
        for value in (0...0x2100).compactMap(Unicode.Scalar.init) {
            let text = "a" + String(value) + "b"
            let line = Printable.line(text)
            let lines = Printable.lines(text)
            #expect(Printable.line(line) == line && Printable.lines(lines) == lines)
            #expect(!line.unicodeScalars.contains { $0.value < 0x20 || (0x7F..<0xA0).contains($0.value) })
            #expect(!lines.unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" && $0 != "\t" })
        }
    }
}
