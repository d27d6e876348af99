import Cryptography
import Primitives
import Sessions
import Wire

/// What a hostile machine does.
public enum Hostility: Sendable {
    /// It answers, and names only fellow liars (`Lies`); among its contacts are forged ones of honest nodes.
    case lie
    /// It sends handshakes that it never ends, and offers of nodes that it invented, half of each, to honest nodes:
    /// those of the list, or all.
    case flood(perSecond: Int, victims: [Int])
    /// It overhears the mesh and sends what it heard again: to whom it was meant for and to others, from the address it
    /// came from and from its own.
    case replay(perSecond: Int)
}

/// The attacker's program on a machine of the mesh: the real `Sessions`, so that it speaks the protocol on either
/// carrier, and above them no core but a script (`World+Hostile`). It keeps its machine's key and address, so that who
/// knew the honest node knows this one.
final class Impostor {
    let hostility: Hostility
    var sessions: Sessions
    var output = SessionOutput()
    var turn: Turn
    var random: SeededRandom {
        _read { yield turn.random }
        _modify { yield &turn.random }
    }
    let contact: Verified<Contact>
    /// Its registrations by topic, signed once.
    var registrations: [TopicID: Verified<Registration>] = [:]
    /// First messages to victims: made once and sent over and over, since a victim can't tell (it assumes that they are
    /// replayed) and pays the same.
    var handshakes: [(bytes: [UInt8], to: Int32)] = []
    var offers: [SignedRecord] = []

    init(
        _ hostility: Hostility, sessions: Sessions, contact: Verified<Contact>, turn: Turn
    ) {
        self.hostility = hostility
        self.sessions = sessions
        self.contact = contact
        self.turn = turn
    }
}
