import FoundationEssentials
import Glibc
import Logging
import MeshDocuments
import NodeConfiguration
import OpenAIFormat
import Primitives

/// The node's log on stderr: one line per event, as text or JSON.
enum NodeLog {
    static func logger(_ settings: LogSettings) -> Logger {
        let level = Logger.Level(rawValue: settings.level.rawValue) ?? .notice
        return Logger(label: "starling") { _ in LineHandler(format: settings.format, logLevel: level) }
    }

    private struct LineHandler: LogHandler {
        var format: LogSettings.Format
        var logLevel: Logger.Level
        var metadata: Logger.Metadata = [:]

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            var fields = metadata
            for (key, value) in event.metadata ?? [:] { fields[key] = value }
            let ordered = fields.sorted { $0.key < $1.key }
            let time = Timestamp.text(milliseconds: Int64(Date().timeIntervalSince1970 * 1_000))
            switch format {
            case .text:
                let rest = ordered.map { " \($0.key)=\($0.value)" }.joined()
                remark(Printable.line("\(time) \(event.level) \(event.message)\(rest)"))
            case .json:
                let first: [JSONTree.Member] = [
                    .init("t", .string(time)), .init("level", .string(event.level.rawValue)),
                    .init("event", .string("\(event.message)")),
                ]
                let members = first + ordered.map { .init($0.key, Self.json($0.value)) }
                remark(Printable.json(String(decoding: JSONTree.object(members).bytes, as: UTF8.self)))
            }
        }

        /// Numbers and flags as such: they were given as `.stringConvertible`.
        private static func json(_ value: Logger.MetadataValue) -> JSONTree {
            switch value {
            case .stringConvertible(let flag as Bool): .bool(flag)
            case .stringConvertible(let number as any BinaryInteger): .number("\(number)")
            case .array(let values): .array(values.map(json))
            default: .string("\(value)")
            }
        }
    }
}
