/// Text of strangers as people may see it. A label, a model's name, an error message or an answer can hold escape
/// sequences that make a terminal write to the clipboard or hide lines, line breaks that fake a line of ours, and
/// marks that show text in another order than it has. Such characters are shown as escapes: `\n`, `\u{1b}`. What was
/// printable stays as it is, so applying it twice changes nothing.
public enum Printable {
    /// Marks on one letter, such as accents, that are shown. No script needs more; a hundred of them cover the lines
    /// above and below.
    static let marksMax = 4

    /// One line: labels, names, messages, log lines. Escapes all control and format characters (directions,
    /// invisible ones), all line breaks, and marks beyond the fourth on a letter.
    public static func line(_ text: some StringProtocol) -> String {
        escaped(text, marksMax: marksMax) { !isPrintable($0) }
    }

    /// One line in quotes, which it can't end by itself: a quote of its own is shown as `\u{22}`.
    public static func quoted(_ text: some StringProtocol) -> String {
        // By scalars: a quote with an accent is another character than a quote, and ends the quotes all the same.
        "\"" + escaped(text, marksMax: marksMax) { $0 == "\"" || !isPrintable($0) } + "\""
    }

    /// Several lines: answers, and output of our own that quotes others. Line feeds and tabs stay, and so do format
    /// characters, which join emoji and order the scripts that are written from right to left. CR LF becomes LF.
    public static func lines(_ text: some StringProtocol) -> String {
        escaped(
            String(text.split(separator: "\r\n", omittingEmptySubsequences: false).joined(separator: "\n"))
        ) {
            $0.properties.generalCategory == .control && $0 != "\n" && $0 != "\t"
        }
    }

    /// A JSON document for a terminal: control characters other than line feeds and tabs, and format characters,
    /// as JSON's own escapes, which mean the same.
    public static func json(_ text: some StringProtocol) -> String {
        escaped(text, as: jsonEscape) { $0 != "\n" && $0 != "\t" && !isPrintable($0) }
    }

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        if (0x20..<0x7F).contains(scalar.value) { return true }
        return switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: false
        default: true
        }
    }

    private static func isMark(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.value < 0x300 { return false }
        return switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark: true
        default: false
        }
    }

    private static func escaped(
        _ text: some StringProtocol, as escape: (Unicode.Scalar) -> String = Printable.textEscape,
        marksMax: Int = .max, where mustGo: (Unicode.Scalar) -> Bool
    ) -> String {
        var out = String.UnicodeScalarView()
        var marks = 0
        for scalar in text.unicodeScalars {
            marks = isMark(scalar) ? marks + 1 : 0
            if mustGo(scalar) || marks > marksMax {
                out.append(contentsOf: escape(scalar).unicodeScalars)
            } else {
                out.append(scalar)
            }
        }
        return String(out)
    }

    private static func textEscape(_ scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "\n": "\\n"
        case "\r": "\\r"
        case "\t": "\\t"
        default: "\\u{\(String(scalar.value, radix: 16))}"
        }
    }

    private static func jsonEscape(_ scalar: Unicode.Scalar) -> String {
        Character(scalar).utf16.map { unit in
            let digits = String(unit, radix: 16)
            return "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
        }.joined()
    }
}
