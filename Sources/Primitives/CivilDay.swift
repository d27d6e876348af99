/// Days of the calendar, UTC, as people write them: `2027-01-31`.
public enum CivilDay {
    /// Days since 1970; nil for any other text, and for years outside 1970...9999.
    public static func parse(_ text: some StringProtocol) -> Int64? {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.map(\.utf8.count) == [4, 2, 2],
            parts.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }),
            let year = Int64(parts[0]), let month = Int64(parts[1]), let day = Int64(parts[2]), year >= 1970,
            (1...12).contains(month)
        else { return nil }
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let days: [Int64] = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        guard day >= 1, day <= days[Int(month) - 1] else { return nil }
        let before = year - 1
        let leapDays = before / 4 - before / 100 + before / 400 - 477
        return (year - 1970) * 365 + leapDays + days.prefix(Int(month) - 1).reduce(0, +) + day - 1
    }

    /// The first moment of that day since 1970.
    public static func start(_ day: Int64) -> WallTime {
        let (milliseconds, overflow) = day.multipliedReportingOverflow(by: 86_400_000)
        return WallTime(milliseconds: overflow ? .max : milliseconds)
    }
}
