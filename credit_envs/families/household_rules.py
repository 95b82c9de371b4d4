# ruff: noqa: E501 (a rule stands on one line)
"""The rules of Household games, in TextWorld's language, and the Inform 7 code that makes the interpreter follow them.

Every rule has a name that starts with ``house/``; of TextWorld's own rules only ``go/*`` and ``open/c`` are used. What can
be taken, put down and finished is bounded by the errand of the moment, which keeps the number of states linear in the
number of errands.
"""

from __future__ import annotations

USED = ("go/*", "open/c", "house/*")
"""Patterns of the rules that players may use."""

LOGIC = '''
type q : t {
    predicates { plain(q); known(q); }
    inform7 {
        type { kind :: "quality-like"; }
        predicates { plain(q) :: ""; known(q) :: ""; }
    }
}

type l : s {
    inform7 { type { kind :: "lamp-like"; } }
}

type e : t {
    predicates {
        now(e);
        empty(I);
        is(o, q);
        due(e, o);
        treats(e, o);
        elsewhere(e, s);
        elsewhere(e, c);
        early(e, q, s);
        early(e, q, c);
        brings(e, o, s, e);
        brings(e, o, c, e);
        serves(e, o, q, s, e);
        serves(e, o, q, c, e);
        shows(e, o, l, s, e);
        washes(s, q);
        heats(s, q);
        cools(c, q);
    }

    rules {
        house/take/s  :: $at(P, r) & $at(s, r) & $now(e) & $due(e, o) & on(o, s) & empty(I) -> in(o, I);
        house/take/c  :: $at(P, r) & $at(c, r) & $open(c) & $now(e) & $due(e, o) & in(o, c) & empty(I) -> in(o, I);

        house/put/s   :: $at(P, r) & $at(s, r) & $now(e) & $elsewhere(e, s) & in(o, I) -> on(o, s) & empty(I);
        house/put/c   :: $at(P, r) & $at(c, r) & $open(c) & $now(e) & $elsewhere(e, c) & in(o, I) -> in(o, c) & empty(I);

        house/early/s :: $at(P, r) & $at(s, r) & $now(e) & $early(e, q, s) & $is(o, q) & in(o, I) -> on(o, s) & empty(I);
        house/early/c :: $at(P, r) & $at(c, r) & $open(c) & $now(e) & $early(e, q, c) & $is(o, q) & in(o, I) -> in(o, c) & empty(I);

        house/bring/s :: $at(P, r) & $at(s, r) & now(e) & $brings(e, o, s, e') & in(o, I) -> on(o, s) & empty(I) & now(e');
        house/bring/c :: $at(P, r) & $at(c, r) & $open(c) & now(e) & $brings(e, o, c, e') & in(o, I) -> in(o, c) & empty(I) & now(e');

        house/serve/s :: $at(P, r) & $at(s, r) & now(e) & $serves(e, o, q, s, e') & is(o, q) & $plain(q') & in(o, I) -> on(o, s) & empty(I) & now(e') & is(o, q');
        house/serve/c :: $at(P, r) & $at(c, r) & $open(c) & now(e) & $serves(e, o, q, c, e') & is(o, q) & $plain(q') & in(o, I) -> in(o, c) & empty(I) & now(e') & is(o, q');

        house/show    :: $at(P, r) & $at(l, r) & now(e) & $shows(e, o, l, s, e') & in(o, I) -> on(o, s) & empty(I) & now(e');

        house/wash    :: $at(P, r) & $at(s, r) & $washes(s, q) & $now(e) & $treats(e, o) & $on(o, s) & is(o, q') -> is(o, q);
        house/heat    :: $at(P, r) & $at(s, r) & $heats(s, q) & $now(e) & $treats(e, o) & $on(o, s) & is(o, q') -> is(o, q);
        house/cool    :: $at(P, r) & $at(c, r) & $open(c) & $cools(c, q) & $now(e) & $treats(e, o) & $in(o, c) & is(o, q') -> is(o, q);
    }

    inform7 {
        type { kind :: "errand-like"; }

        predicates {
            now(e) :: "The {e} is current";
            empty(I) :: "";
            is(o, q) :: "The manner of the {o} is {q}";
            due(e, o) :: "";
            treats(e, o) :: "";
            elsewhere(e, s) :: "";
            elsewhere(e, c) :: "";
            early(e, q, s) :: "";
            early(e, q, c) :: "";
            brings(e, o, s, e') :: "";
            brings(e, o, c, e') :: "";
            serves(e, o, q, s, e') :: "";
            serves(e, o, q, c, e') :: "";
            shows(e, o, l, s, e') :: "";
            washes(s, q) :: "";
            heats(s, q) :: "";
            cools(c, q) :: "";
        }

        commands {
            house/take/s :: "take {o} from {s}" :: "removing the {o} from the {s}";
            house/take/c :: "take {o} from {c}" :: "removing the {o} from the {c}";
            house/put/s :: "put {o} on {s}" :: "putting the {o} on the {s}";
            house/put/c :: "put {o} in {c}" :: "inserting the {o} into the {c}";
            house/early/s :: "put {o} on {s}" :: "putting the {o} on the {s}";
            house/early/c :: "put {o} in {c}" :: "inserting the {o} into the {c}";
            house/bring/s :: "put {o} on {s}" :: "putting the {o} on the {s}";
            house/bring/c :: "put {o} in {c}" :: "inserting the {o} into the {c}";
            house/serve/s :: "put {o} on {s}" :: "putting the {o} on the {s}";
            house/serve/c :: "put {o} in {c}" :: "inserting the {o} into the {c}";
            house/show :: "examine {o} under {l}" :: "inspecting the {o} under the {l}";
            house/wash :: "wash {o}" :: "washing the {o}";
            house/heat :: "heat {o}" :: "heating the {o}";
            house/cool :: "cool {o}" :: "cooling the {o}";
        }

        code :: """
%s
        """;
    }
}
'''

INFORM = """
An object-like has a quality-like called the manner.
An errand-like can be current. An errand-like is usually not current.
An errand-like has a text called the note.
A lamp-like has a supporter called the stand.

Before printing the name of an object-like (called the piece):
	if the manner of the piece is not q_0:
		say "[printed name of the manner of the piece] ".

To follow the list with (X - a thing) at (Y - a thing):
	repeat through the Table of Steps:
		if this-step entry is current and piece entry is X and spot entry is Y and wish entry is the manner of X:
			now this-step entry is not current;
			now next-step entry is current;
			now the manner of X is q_0;
			stop.

Last carry out putting something on something (this is the list follows putting rule):
	follow the list with the noun at the second noun.

Last carry out inserting something into something (this is the list follows inserting rule):
	follow the list with the noun at the second noun.

Inspecting it under is an action applying to one carried thing and one touchable thing.
Understand "examine [something preferably held] under [something]" as inspecting it under.
Check inspecting something under something:
	if the second noun is not a lamp-like, say "That gives no light." instead.
Carry out inspecting something under something (called the light):
	now the noun is on the stand of the light;
	follow the list with the noun at the light.
Report inspecting something under something (called the light):
	say "You look at [the noun] under [the light], then put it down on [the stand of the light]."

Understand the command "wash" as something new.
Understand the command "heat" as something new.
Understand the command "cool" as something new.
Washing is an action applying to one touchable thing. Understand "wash [something]" as washing.
Heating is an action applying to one touchable thing. Understand "heat [something]" as heating.
Cooling is an action applying to one touchable thing. Understand "cool [something]" as cooling.
Check washing: if the noun is not on the washing place, say "It has to be on [the washing place]." instead.
Check heating: if the noun is not on the heating place, say "It has to be on [the heating place]." instead.
Check cooling: if the noun is not in the cooling place, say "It has to be in [the cooling place]." instead.
Carry out washing an object-like: now the manner of the noun is q_1.
Carry out heating an object-like: now the manner of the noun is q_2.
Carry out cooling an object-like: now the manner of the noun is q_3.
Report washing: say "You have [the noun] now."
Report heating: say "You have [the noun] now."
Report cooling: say "You have [the noun] now."

Check taking when the player carries something: say "Your hands are full." instead.
Check taking an object-like:
	repeat through the Table of Steps:
		if this-step entry is current and piece entry is the noun, continue the action;
	say "Your list does not ask for [the noun] now." instead.
Check dropping something: say "Better put it somewhere." instead.

First rule for printing the things on the floor: stop.

Report taking inventory:
	repeat with job running through current errand-likes:
		say "[line break]To do: [note of the job]".
"""
