#!/usr/bin/env python3
"""Writes bundles in the shape of those that other systems export: fifteen as Synthea writes them, five as other servers do. Made
from the published structure of those exports, with invented people and values. Usage: foreign.py FOLDER (record/tests/foreign)"""
import json
import pathlib
import random
import sys
import uuid

LOINC, SNOMED, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"
RXNORM, CVX, CAT = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://hl7.org/fhir/sid/cvx", "http://terminology.hl7.org/CodeSystem/observation-category"
US = "http://hl7.org/fhir/us/core/StructureDefinition/"

# code, words, unit, kind, least and most of a well child
VITALS = [
    ("8302-2", "Body Height", "cm", "vital-signs", 70, 95), ("29463-7", "Body Weight", "kg", "vital-signs", 8, 14),
    ("8867-4", "Heart rate", "/min", "vital-signs", 90, 130), ("9279-1", "Respiratory rate", "/min", "vital-signs", 22, 38),
    ("8310-5", "Body temperature", "Cel", "vital-signs", 36.4, 37.3), ("2708-6", "Oxygen saturation in Arterial blood", "%", "vital-signs", 95, 99),
    ("59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry", "%", "vital-signs", 95, 99),
    ("9843-4", "Head Occipital-frontal circumference", "cm", "vital-signs", 44, 49), ("77606-2", "Weight-for-length Per age and sex", "%", "vital-signs", 20, 80),
    ("72514-3", "Pain severity - 0-10 verbal numeric rating", "{score}", "vital-signs", 0, 4),
    ("718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", "laboratory", 11.2, 13.5), ("6690-2", "Leukocytes [#/volume] in Blood by Automated count", "10*3/uL", "laboratory", 5, 11),
    ("789-8", "Erythrocytes [#/volume] in Blood by Automated count", "10*6/uL", "laboratory", 4, 5), ("4544-3", "Hematocrit [Volume Fraction] of Blood by Automated count", "%", "laboratory", 33, 40),
]


def synthea(n):
    rng = random.Random(1000 + n)

    def new():
        return str(uuid.UUID(int=rng.getrandbits(128), version=4))

    entries, patient, family, given = [], new(), f"Kuhn{rng.randrange(1000)}", f"Amira{rng.randrange(1000)}"

    def add(kind, **fields):
        of = fields.pop("id", None) or new()
        entries.append({"fullUrl": f"urn:uuid:{of}", "resource": {"resourceType": kind, "id": of, **fields}, "request": {"method": "POST", "url": kind}})
        return of

    born = f"{2024 + n % 2}-{1 + n % 9:02}-{1 + n:02}" if n < 12 else f"{1988 + n}-03-1{n % 10}"
    me = {"reference": f"urn:uuid:{patient}"}
    code = lambda system, code, words: {"coding": [{"system": system, "code": code, "display": words}], "text": words}
    add(
        "Patient", id=patient, meta={"profile": [US + "us-core-patient"]},
        text={"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">Generated. Version identifier: v3.2.0</div>"},
        extension=[
            {"url": US + "us-core-race", "extension": [{"url": "ombCategory", "valueCoding": {"system": "urn:oid:2.16.840.1.113883.6.238", "code": "2106-3", "display": "White"}}, {"url": "text", "valueString": "White"}]},
            {"url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName", "valueString": "Asuncion909 Verdugo590"},
            {"url": US + "us-core-birthsex", "valueCode": "F"}, {"url": "http://synthetichealth.github.io/synthea/disability-adjusted-life-years", "valueDecimal": 0.0},
        ],
        identifier=[{"system": "https://github.com/synthetichealth/synthea", "value": patient}, {"type": code("http://terminology.hl7.org/CodeSystem/v2-0203", "MR", "Medical Record Number"), "system": "http://hospital.smarthealthit.org", "value": patient}],
        name=[{"use": "official", "family": family, "given": [given, "Lea"]}], telecom=[{"system": "phone", "value": "555-601-1234", "use": "home"}],
        gender=["female", "male"][n % 2], birthDate=born,
        address=[{"line": ["921 Dietrich Lodge"], "city": "Boston", "state": "MA", "country": "US", "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/geolocation", "extension": [{"url": "latitude", "valueDecimal": 42.3}, {"url": "longitude", "valueDecimal": -71.1}]}]}],
        multipleBirthBoolean=False, communication=[{"language": code("urn:ietf:bcp:47", "en-US", "English (United States)")}],
    )
    organization = add("Organization", active=True, name="COMMUNITY CLINIC", type=[code("http://terminology.hl7.org/CodeSystem/organization-type", "prov", "Healthcare Provider")])
    doctor = add("Practitioner", active=True, name=[{"family": "Abernathy524", "given": ["Roxane561"], "prefix": ["Dr."]}], identifier=[{"system": "http://hl7.org/fhir/sid/us-npi", "value": "9999958397"}])
    for visit in range(1 + n % 3):
        at = f"2026-0{3 + visit * 3}-{10 + n:02}T{8 + visit:02}:15:22-04:00" if n < 10 else f"2026-0{3 + visit * 3}-{n + 9:02}T{8 + visit:02}:15:22+00:00"
        encounter = {"reference": "urn:uuid:" + add(
            "Encounter", meta={"profile": [US + "us-core-encounter"]}, status="finished", **{"class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}},
            type=[code(SNOMED, "410620009", "Well child visit (procedure)")], subject=me, period={"start": at, "end": at},
            participant=[{"individual": {"reference": f"urn:uuid:{doctor}", "display": "Dr. Roxane561 Abernathy524"}}], serviceProvider={"reference": f"urn:uuid:{organization}"},
        )}
        observations = []

        def observe(loinc, words, category, **value):
            observations.append(add(
                "Observation", meta={"profile": [US + "us-core-observation-lab"]}, status="final", category=[code(CAT, category, category)], code=code(LOINC, loinc, words),
                subject=me, encounter=encounter, effectiveDateTime=at, issued=at.replace("22", "22.105"), **value,
            ))

        quantity = lambda number, unit: {"value": number, "unit": unit, "system": UCUM, "code": unit}
        for loinc, words, unit, category, least, most in VITALS:
            number = round(rng.uniform(least, most), 1)
            if n >= 12 and loinc in ("8302-2", "29463-7"):
                number = round(number * (1.9 if loinc == "8302-2" else 5.5), 1)
            # Every third has something that is a danger on the last visit.
            if n % 3 == 0 and visit == n % 3 and loinc in ("2708-6", "59408-5"):
                number = 84.0
            observe(loinc, words, category, valueQuantity=quantity(number, unit))
        component = lambda loinc, words, number: {"code": code(LOINC, loinc, words), "valueQuantity": quantity(number, "mm[Hg]")}
        observe("85354-9", "Blood pressure panel with all children optional", "vital-signs", component=[component("8462-4", "Diastolic Blood Pressure", 60 + n), component("8480-6", "Systolic Blood Pressure", 95 + n)])
        observe("72166-2", "Tobacco smoking status", "social-history", valueCodeableConcept=code(SNOMED, "266919005", "Never smoked tobacco (finding)"))
        condition = add(
            "Condition", meta={"profile": [US + "us-core-condition-encounter-diagnosis"]}, clinicalStatus=code("http://terminology.hl7.org/CodeSystem/condition-clinical", ["active", "resolved"][visit % 2], ""),
            verificationStatus=code("http://terminology.hl7.org/CodeSystem/condition-ver-status", "confirmed", ""), category=[code("http://terminology.hl7.org/CodeSystem/condition-category", "encounter-diagnosis", "Encounter Diagnosis")],
            code=code(SNOMED, ["195662009", "65363002", "10509002"][n % 3], ["Acute viral pharyngitis (disorder)", "Otitis media (disorder)", "Acute bronchitis (disorder)"][n % 3]), subject=me, encounter=encounter, onsetDateTime=at, recordedDate=at,
        )
        medicine = code(RXNORM, "308182", "Amoxicillin 250 MG Oral Capsule")
        add("MedicationRequest", status="stopped", intent="order", medicationCodeableConcept=medicine, subject=me, encounter=encounter, authoredOn=at, requester={"reference": f"urn:uuid:{doctor}"}, reasonReference=[{"reference": f"urn:uuid:{condition}"}],
            dosageInstruction=[{"sequence": 1, "timing": {"repeat": {"frequency": 2, "period": 1.0, "periodUnit": "d"}}, "asNeededBoolean": False, "doseAndRate": [{"type": code("http://terminology.hl7.org/CodeSystem/dose-rate-type", "ordered", "Ordered"), "doseQuantity": {"value": 1.0}}]}])
        add("Immunization", status="completed", vaccineCode=code(CVX, "08", "Hep B, adolescent or pediatric"), patient=me, encounter=encounter, occurrenceDateTime=at, primarySource=True)
        add("Procedure", status="completed", code=code(SNOMED, "430193006", "Medication Reconciliation (procedure)"), subject=me, encounter=encounter, performedPeriod={"start": at, "end": at})
        add("DiagnosticReport", status="final", category=[code(LOINC, "34117-2", "History and physical note")], code=code(LOINC, "58410-2", "CBC panel - Blood by Automated count"), subject=me, encounter=encounter, effectiveDateTime=at, issued=at, result=[{"reference": f"urn:uuid:{of}"} for of in observations[-6:]])
        claim = add("Claim", status="active", type=code("http://terminology.hl7.org/CodeSystem/claim-type", "professional", ""), use="claim", patient=me, billablePeriod={"start": at, "end": at}, created=at, provider={"reference": f"urn:uuid:{organization}"}, priority=code("http://terminology.hl7.org/CodeSystem/processpriority", "normal", ""), insurance=[{"sequence": 1, "focal": True, "coverage": {"display": "Medicaid"}}], total={"value": 136.8, "currency": "USD"})
        add("ExplanationOfBenefit", contained=[{"resourceType": "ServiceRequest", "id": "referral", "status": "completed", "intent": "order", "subject": me}], status="active", type=code("http://terminology.hl7.org/CodeSystem/claim-type", "professional", ""), use="claim", patient=me, created=at, insurer={"display": "Medicaid"}, provider={"reference": f"urn:uuid:{doctor}"}, claim={"reference": f"urn:uuid:{claim}"}, outcome="complete", insurance=[{"focal": True, "coverage": {"display": "Medicaid"}}])
        if n % 4 == 0:
            add("AllergyIntolerance", clinicalStatus=code("http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "active", ""), verificationStatus=code("http://terminology.hl7.org/CodeSystem/allergyintolerance-verification", "confirmed", ""), type="allergy", category=["medication"], criticality="low", code=code(RXNORM, "7980", "Penicillin"), patient=me, recordedDate=at)
        if n % 5 == 0:
            add("CarePlan", status="active", intent="order", category=[code(SNOMED, "53950000", "Respiratory therapy (procedure)")], subject=me, encounter=encounter, period={"start": at}, activity=[{"detail": {"code": code(SNOMED, "304510005", "Recommendation to avoid exercise"), "status": "in-progress"}}])
            add("CareTeam", status="active", subject=me, encounter=encounter, period={"start": at})
    add("Provenance", target=[{"reference": entry["fullUrl"]} for entry in entries[:4]], recorded="2026-09-29T08:15:22.105-04:00", agent=[{"who": {"reference": f"urn:uuid:{doctor}"}}])
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def others():
    """A search result of a HAPI server, one of OpenMRS, a document of a patient summary, a batch of a national hub, and bulk data's resources in a collection."""
    quantity = lambda number, unit: {"value": number, "unit": unit, "system": UCUM, "code": unit}
    loinc = lambda code, words: {"coding": [{"system": LOINC, "code": code, "display": words}]}
    snomed = lambda code, words: {"coding": [{"system": SNOMED, "code": code, "display": words}], "text": words}
    ciel = lambda code, words: {"coding": [{"code": code + "A" * (36 - len(code)), "display": words}, {"system": "https://cielterminology.org", "code": code}], "text": words}
    child = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Otieno", "given": ["Akinyi"]}], "gender": "female", "birthDate": "2025-01-17"}
    me = {"reference": "Patient/p1"}
    at = "2026-10-04T10:20:00+03:00"

    def observed(n, code, **more):
        return {"resourceType": "Observation", "id": f"o{n}", "status": "final", "code": code, "subject": me, "effectiveDateTime": at, **more}

    base = "https://hapi.example.org/fhir"
    search = [child, observed(1, loinc("8310-5", "Body temperature"), valueQuantity=quantity(38.9, "Cel")), observed(2, loinc("9279-1", "Respiratory rate"), valueQuantity=quantity(52, "/min")),
        observed(3, loinc("59408-5", "SpO2"), valueQuantity=quantity(87, "%")), observed(4, loinc("29463-7", "Body weight"), valueQuantity=quantity(18.7, "[lb_av]")),
        {"resourceType": "OperationOutcome", "id": "warning", "issue": [{"severity": "warning", "code": "informational"}]}]
    yield "hapi-searchset", {"resourceType": "Bundle", "id": "b1", "meta": {"lastUpdated": at}, "type": "searchset", "total": 5, "link": [{"relation": "self", "url": base + "/Patient/p1/$everything"}],
        "entry": [{"fullUrl": f"{base}/{r['resourceType']}/{r['id']}", "resource": r, "search": {"mode": "outcome" if r["resourceType"] == "OperationOutcome" else "match"}} for r in search]}
    openmrs = [child, observed(1, {"coding": [{"code": "5088A"}, {"system": LOINC, "code": "8310-5"}, {"system": "https://cielterminology.org", "code": "5088"}], "text": "Temperature (C)"}, valueQuantity={"value": 36.9, "unit": "DEG C"}),
        observed(2, {"coding": [{"code": "5089A"}, {"system": LOINC, "code": "3141-9"}]}, valueQuantity={"value": 9.1, "unit": "kg"}), observed(3, {"coding": [{"code": "5242A"}, {"system": LOINC, "code": "9279-1"}], "text": "Respiratory rate"}, valueQuantity={"value": 41, "unit": "breaths/min"}),
        observed(4, {"coding": [{"code": "1343A"}, {"system": LOINC, "code": "56072-2"}], "text": "MUAC"}, valueQuantity={"value": 11.2, "unit": "cm"}),
        {"resourceType": "Encounter", "id": "e1", "status": "unknown", "class": {"code": "AMB"}, "type": [ciel("1", "Vitals")], "subject": me, "period": {"start": at}},
        {"resourceType": "Condition", "id": "c1", "clinicalStatus": {"coding": [{"code": "active"}]}, "code": ciel("114100", "Pneumonia"), "subject": me, "recordedDate": at}]
    yield "openmrs-collection", {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in openmrs]}
    summary = [{"resourceType": "Composition", "id": "ips", "status": "final", "type": loinc("60591-5", "Patient summary Document"), "subject": me, "date": at, "author": [{"display": "clinic"}], "title": "Patient summary",
            "section": [{"title": "Vital signs", "code": loinc("8716-3", "Vital signs"), "entry": [{"reference": "Observation/o1"}, {"reference": "Observation/o2"}]}, {"title": "Allergies", "code": loinc("48765-2", "Allergies"), "entry": [{"reference": "AllergyIntolerance/a1"}]}]},
        child, observed(1, loinc("8310-5", "Body temperature"), valueQuantity=quantity(98.4, "[degF]")), observed(2, loinc("85354-9", "Blood pressure"), component=[{"code": loinc("8480-6", "Systolic"), "valueQuantity": quantity(92, "mm[Hg]")}, {"code": loinc("8462-4", "Diastolic"), "valueQuantity": quantity(58, "mm[Hg]")}]),
        {"resourceType": "AllergyIntolerance", "id": "a1", "clinicalStatus": {"coding": [{"code": "active"}]}, "code": snomed("91936005", "Allergy to penicillin"), "patient": me},
        {"resourceType": "MedicationStatement", "id": "m1", "status": "active", "medicationCodeableConcept": {"text": "Cotrimoxazole 120 mg daily"}, "subject": me, "effectivePeriod": {"start": "2026-09-01"}},
        {"resourceType": "Immunization", "id": "i1", "status": "completed", "vaccineCode": {"coding": [{"system": CVX, "code": "03"}], "text": "MMR"}, "patient": me, "occurrenceDateTime": "2026-01-20"}]
    yield "ips-document", {"resourceType": "Bundle", "identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:0a1f7e0c-7c55-4ab3-8b5f-0d6cf2ab0001"}, "type": "document", "timestamp": at, "entry": [{"fullUrl": f"http://example.org/fhir/{r['resourceType']}/{r['id']}", "resource": r} for r in summary]}
    hub = [child, observed(1, loinc("70569-9", "Plasmodium Ag rapid test"), valueCodeableConcept=snomed("10828004", "Positive")), observed(2, loinc("8310-5", "Body temperature"), valueQuantity=quantity(39.4, "Cel")), observed(3, snomed("271825005", "Respiratory distress"), valueBoolean=True),
        {"resourceType": "MedicationAdministration", "id": "d1", "status": "completed", "medicationCodeableConcept": {"text": "artemether-lumefantrine"}, "subject": me, "effectiveDateTime": at, "dosage": {"dose": {"value": 1, "unit": "tablet"}}},
        {"resourceType": "ServiceRequest", "id": "s1", "status": "active", "intent": "order", "priority": "urgent", "code": snomed("3457005", "Patient referral"), "subject": me}]
    yield "hub-batch", {"resourceType": "Bundle", "type": "batch", "entry": [{"fullUrl": f"http://hub.example.org/{r['resourceType']}/{r['id']}", "resource": r, "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}} for r in hub]}
    bulk = [child, observed(1, loinc("20564-1", "Oxygen saturation in Blood"), valueQuantity=quantity(0.97, "1")), observed(2, loinc("8306-3", "Body length"), valueQuantity=quantity(0.78, "m")), observed(3, loinc("3141-9", "Body weight"), valueQuantity=quantity(9300, "g")),
        observed(4, loinc("718-7", "Hemoglobin"), valueQuantity=quantity(6.4, "g/dL")), {"resourceType": "Location", "id": "l1", "name": "Kisumu"}, {"resourceType": "QuestionnaireResponse", "id": "q1", "status": "completed", "subject": me, "item": [{"linkId": "1", "text": "Any convulsion?", "answer": [{"valueBoolean": False}]}]}]
    yield "bulk-ndjson", bulk


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(15):
        (folder / f"synthea-{n + 1:02}.json").write_text(json.dumps(synthea(n), ensure_ascii=False, separators=(",", ":")) + "\n")
    for name, bundle in others():
        if isinstance(bundle, list):
            (folder / f"{name}.ndjson").write_text("".join(json.dumps(r, separators=(",", ":")) + "\n" for r in bundle))
        else:
            (folder / f"{name}.json").write_text(json.dumps(bundle, separators=(",", ":")) + "\n")


main()
