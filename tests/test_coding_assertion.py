"""How a text speaks of a condition: a table of sentences, each with what is asked about and what the words say."""

from __future__ import annotations

import time

import pytest

from serving.coding.assertion import find_scopes, judge_span

SENTENCES = [
    # affirmed
    ("Patient has type 2 diabetes.", "type 2 diabetes", "affirmed"),
    ("CHF exacerbation", "CHF", "affirmed"),
    ("Not only hypertension but also CKD was found.", "hypertension", "affirmed"),
    ("Not only hypertension but also CKD was found.", "CKD", "affirmed"),
    ("She does not deny chest pain.", "chest pain", "affirmed"),
    ("There is no doubt about pneumonia.", "pneumonia", "affirmed"),
    ("T2DM without complications", "T2DM", "affirmed"),
    ("Gram negative sepsis", "sepsis", "affirmed"),
    ("NSTEMI, non-ST elevation myocardial infarction", "elevation myocardial infarction", "affirmed"),
    ("Hypertension, not well controlled", "Hypertension", "affirmed"),
    ("No increase in ascites", "ascites", "affirmed"),
    ("Lives with her mother, asthma is stable.", "asthma", "affirmed"),
    ("Mother reports fever and cough in the child.", "fever", "affirmed"),
    ("Prior to admission she had cellulitis.", "cellulitis", "affirmed"),
    # negated
    ("Denies chest pain.", "chest pain", "negated"),
    ("Patient denies chest pain, dyspnea, or palpitations.", "chest pain", "negated"),
    ("Patient denies chest pain, dyspnea, or palpitations.", "palpitations", "negated"),
    ("Denies fever, chills, cough", "cough", "negated"),
    ("No fever.", "fever", "negated"),
    ("No fever, chills or night sweats", "night sweats", "negated"),
    ("T2DM without retinopathy, HTN", "retinopathy", "negated"),
    ("T2DM without retinopathy, HTN", "HTN", "affirmed"),
    ("T2DM w/o neuropathy", "neuropathy", "negated"),
    ("T2DM, no nephropathy, HTN", "nephropathy", "negated"),
    ("T2DM, no nephropathy, HTN", "HTN", "affirmed"),
    ("Denies chest pain but has dyspnea.", "dyspnea", "affirmed"),
    ("Denies chest pain but has dyspnea.", "chest pain", "negated"),
    ("No evidence of pneumonia on chest film.", "pneumonia", "negated"),
    ("Pneumonia was ruled out.", "Pneumonia", "negated"),
    ("He was ruled out for MI.", "MI", "negated"),
    ("MI has been ruled out", "MI", "negated"),
    ("Chest pain: denies", "Chest pain", "negated"),
    ("Edema: none", "Edema", "negated"),
    ("COVID-19 test negative", "COVID-19", "negated"),
    ("Urine was negative for infection", "infection", "negated"),
    ("There is no pleural effusion.", "pleural effusion", "negated"),
    ("No history of diabetes.", "diabetes", "negated"),
    ("No family history of breast cancer.", "breast cancer", "negated"),
    ("Denies family history of colon cancer", "colon cancer", "negated"),
    ("She never had asthma.", "asthma", "negated"),
    ("Neither fever nor cough", "cough", "negated"),
    ("Ascites is absent.", "Ascites", "negated"),
    ("The patient does not have COPD.", "COPD", "negated"),
    ("Patient denies\nchest pain", "chest pain", "negated"),
    ("Denies chest pain. Has asthma.", "asthma", "affirmed"),
    ("No fever; cough for three days", "cough", "affirmed"),
    ("No acute distress. Pneumonia.", "Pneumonia", "affirmed"),
    # family history
    ("Mother had MI.", "MI", "family_history"),
    ("Family history of breast cancer.", "breast cancer", "family_history"),
    ("FHx: colon cancer", "colon cancer", "family_history"),
    ("Father with diabetes and hypertension", "hypertension", "family_history"),
    ("Breast cancer in her mother", "Breast cancer", "family_history"),
    ("Family History:\nMother - stroke\nFather - COPD\nAssessment:\nHTN", "COPD", "family_history"),
    ("Family History:\nMother - stroke\nFather - COPD\nAssessment:\nHTN", "HTN", "affirmed"),
    ("Mother has diabetes, but the patient has only hypertension.", "hypertension", "affirmed"),
    # history
    ("History of stroke.", "stroke", "history"),
    ("h/o DVT, now with chest pain", "DVT", "history"),
    ("h/o DVT, now with chest pain", "chest pain", "affirmed"),
    ("S/p appendectomy", "appendectomy", "history"),
    ("She no longer has asthma.", "asthma", "history"),
    ("Hyperkalemia resolved.", "Hyperkalemia", "history"),
    ("PMH: gout, GERD", "GERD", "history"),
    ("History of present illness: pneumonia", "pneumonia", "affirmed"),
    # uncertain
    ("Possible UTI.", "UTI", "uncertain"),
    ("Rule out MI.", "MI", "uncertain"),
    ("r/o PE", "PE", "uncertain"),
    ("?pneumonia", "pneumonia", "uncertain"),
    ("PE cannot be excluded.", "PE", "uncertain"),
    ("Pneumonia is not ruled out.", "Pneumonia", "uncertain"),
    ("Suspected sepsis", "sepsis", "uncertain"),
    ("CHF vs COPD exacerbation", "COPD exacerbation", "uncertain"),
    ("Probable cholecystitis, no fever", "fever", "negated"),
    ("Malignancy is unlikely.", "Malignancy", "uncertain"),
    ("Chest pain concerning for ACS", "Chest pain", "affirmed"),
    ("Chest pain concerning for ACS", "ACS", "uncertain"),
]


@pytest.mark.parametrize(("text", "asked", "said"), SENTENCES, ids=[str(number) for number in range(len(SENTENCES))])
def test_sentences(text: str, asked: str, said: str) -> None:
    start = text.rindex(asked)
    found = judge_span(find_scopes(text), text, start, start + len(asked))
    assert found.assertion == said, (text, asked, found)
    assert bool(found.trigger) == (said != "affirmed")


def test_the_telling_words_decide_for_a_span_that_says_several_things() -> None:
    text = "T2DM without retinopathy"
    scopes = find_scopes(text)
    assert judge_span(scopes, text, 0, len(text), [(0, 4)]).assertion == "affirmed"
    assert judge_span(scopes, text, 0, len(text), [(13, 24)]).assertion == "negated"
    assert judge_span(find_scopes("Denies chest pain"), "Denies chest pain", 0, 17).assertion == "negated", "a trigger inside"


def test_long_texts_take_no_more_than_their_length() -> None:
    text = "no " * 3_000 + "no fever, or " * 1_000 + "possible " * 3_000
    started = time.monotonic()
    assert find_scopes(text)
    assert time.monotonic() - started < 10
