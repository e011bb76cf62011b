// What HL7's own validator says of bundles. Usage: Judge CODESYSTEM.json FILE...; exits with 1 if any is wrong, or is warned of for a
// reason that is ours. That nobody serves LOINC or ICD here is not.
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.*;
import java.nio.file.*;
import java.util.*;
import org.hl7.fhir.common.hapi.validation.support.*;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.r4.model.*;

public class Judge {
  public static void main(String[] files) throws Exception {
    FhirContext context = FhirContext.forR4();
    // What is published beside the files: our own codes.
    PrePopulatedValidationSupport ours = new PrePopulatedValidationSupport(context);
    for (Bundle.BundleEntryComponent entry :
        context.newJsonParser().parseResource(Bundle.class, Files.readString(Path.of(files[0]))).getEntry()) {
      ours.addCodeSystem(entry.getResource());
    }
    ValidationSupportChain chain = new ValidationSupportChain(
        ours,
        new DefaultProfileValidationSupport(context),
        new InMemoryTerminologyServerValidationSupport(context),
        new CommonCodeSystemsTerminologyService(context),
        new UnknownCodeSystemWarningValidationSupport(context),
        new SnapshotGeneratingValidationSupport(context));
    FhirInstanceValidator instances = new FhirInstanceValidator(chain);
    instances.setAnyExtensionsAllowed(true);
    FhirValidator validator = context.newValidator();
    validator.registerValidatorModule(instances);
    Map<String, Integer> kinds = new TreeMap<>();
    int bundles = 0, wrong = 0, warned = 0;
    for (String file : Arrays.copyOfRange(files, 1, files.length)) {
      bundles++;
      boolean errs = false;
      for (SingleValidationMessage message : validator.validateWithResult(Files.readString(Path.of(file))).getMessages()) {
        String said = message.getMessage(), severity = String.valueOf(message.getSeverity());
        boolean unserved = said.contains("CodeSystem is unknown and can't be validated: http://loinc.org")
            || said.contains("CodeSystem is unknown and can't be validated: http://id.who.int/icd")
            || said.contains("CodeSystem is unknown and can't be validated: http://snomed.info")
            || said.equals("Unable to expand ValueSet because CodeSystem could not be found: http://loinc.org")
            || said.contains("CodeSystem is unknown and can't be validated: http://dicom.nema.org");
        if (severity.equals("INFORMATION") || (severity.equals("WARNING") && unserved)) continue;
        if (severity.equals("WARNING")) warned++; else errs = true;
        String kind = severity + " " + message.getMessageId() + ": " + said.replaceAll("[0-9a-f]{8}-[0-9a-f-]{27}", "UUID");
        kinds.merge(kind.substring(0, Math.min(300, kind.length())), 1, Integer::sum);
      }
      if (errs) wrong++;
    }
    kinds.forEach((kind, count) -> System.out.println(count + " times " + kind));
    System.out.println(bundles + " bundles: " + wrong + " wrong, " + warned + " warnings of ours");
    System.exit(wrong + warned > 0 || bundles < 200 ? 1 : 0);
  }
}
