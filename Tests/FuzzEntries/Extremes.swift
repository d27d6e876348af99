import Primitives
import Wire

public enum Extremes {
    /// Sends one message kind to a whole node in a proven session, as request and as answer to any open
    /// request, with all its numbers at each of their extremes; then lets a day pass.
    public static func play(kind: UInt8) {
        for style in [0, 15] as [UInt8] {
            var start = FuzzInput([style])
            var world = PeerWorld(&start)
            world.begin()
            world.initiate(0, [])
            world.confirm(0)
            // The codes of `FuzzInput.number`; flags and choices follow the same bytes.
            for code in 0...8 as ClosedRange<UInt8> {
                for seed in 0..<3 as Range<UInt64> {
                    var random = SeededRandom(seed: seed)
                    var fields = [kind]
                    for _ in 0..<200 { fields += seed == 0 ? [code] : [UInt8(random.below(2)), code] }
                    var input = FuzzInput(fields)
                    let message = world.message(0, &input)
                    world.send(0, Envelope(request: 9, message: message).encoded(), moved: false)
                    world.answer(0, message)
                }
            }
            for minutes in [0, 1, 15, 1_440] as [Int64] { world.wait(.minutes(minutes)) }
        }
    }
}
