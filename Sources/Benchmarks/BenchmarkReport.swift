import Glibc

/// Named figures, printed as one JSON object in the order in which they were added.
struct BenchmarkReport {
    private var entries: [String] = []

    mutating func add(_ name: String, _ value: Double) {
        entries.append("\(quoted(name)): \(value.isFinite ? "\(value)" : "null")")
    }
    mutating func add(_ name: String, json: String) { entries.append("\(quoted(name)): \(json)") }

    var json: String { "{" + entries.joined(separator: ", ") + "}" }
}

func quoted(_ text: String) -> String {
    var out = "\""
    for byte in text.unicodeScalars {
        switch byte {
        case "\"": out += "\\\""
        case "\\": out += "\\\\"
        case "\n": out += "\\n"
        case "\r": out += "\\r"
        case "\t": out += "\\t"
        case _ where byte.value < 0x20:
            let hex = String(byte.value, radix: 16)
            out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
        default: out.unicodeScalars.append(byte)
        }
    }
    return out + "\""
}

/// Prints one line to stdout and flushes it, even into a pipe.
func say(_ line: String) {
    print(line)
    fflush(nil)
}

func complain(_ line: String) { write(2, line + "\n", line.utf8.count + 1) }
